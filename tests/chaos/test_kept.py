"""The judge of what the service keeps finds what is half, missing or too much."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from afterwards.artifacts import Artifact, encoded
from afterwards.lifecycle import Task, TaskState
from tests.chaos.clients import Acknowledged
from tests.chaos.evidence import without_reason
from tests.chaos.kept import check_families, check_files, check_groups, check_keys, unlisted_files
from tests.chaos.killer import Kill
from tests.chaos.modules.shapes import PICTURE, TITLE, picture_of
from tests.chaos.trials import FINISHED_AT, WORKER, attempt, evidence, task

SIZE = 1_024


# -- files ---------------------------------------------------------------------------------------


@pytest.fixture
def drawn(tmp_path: Path) -> Task:
    content = {PICTURE: picture_of("p", SIZE), TITLE: b"p"}
    (tmp_path / "p" / "1").mkdir(parents=True)
    for name, data in content.items():
        (tmp_path / "p" / "1" / name).write_bytes(data)
    listed = [Artifact(name, len(data), "0" * 64, 1) for name, data in content.items()]
    return task("p", "draw", {"size": SIZE}, artifacts=encoded(listed))


def test_whole_files_of_the_attempt_that_has_succeeded_are_right(
    drawn: Task, tmp_path: Path
) -> None:
    assert [*check_files(evidence(drawn), tmp_path)] == []
    assert unlisted_files(evidence(drawn), tmp_path) == []


def test_half_a_file_and_files_of_another_attempt_are_found(drawn: Task, tmp_path: Path) -> None:
    (tmp_path / "p" / "1" / PICTURE).write_bytes(b"p\n")
    (tmp_path / "p" / "2").mkdir()
    (tmp_path / "p" / "2" / ".1.part").touch()
    [found] = check_files(evidence(drawn), tmp_path)
    assert "is not what was drawn" in found
    assert unlisted_files(evidence(drawn), tmp_path) == [tmp_path / "p" / "2" / ".1.part"]


# -- children and groups -------------------------------------------------------------------------


PARENT = task("f", "family", {"name": "f", "url": ""})
NOW = task("f1", "leaf", {"name": "f/now"}, parent="f")
LEAF = task("f2", "leaf", {"name": "f/leaf"}, parent="f")
CALL = task("f3", "http", {"json": {"name": "f/call"}}, parent="f")


@pytest.mark.parametrize(
    ("tasks", "is_right"),
    [
        ([PARENT, NOW, LEAF, CALL], True),
        ([PARENT, NOW, LEAF], False),
        ([PARENT, NOW, LEAF, CALL, task("f4", "leaf", {"name": "f/leaf"}, parent="f")], False),
        ([task("f", "family", {"name": "f"}, state=TaskState.FAILED), NOW], True),
        ([task("f", "family", {"name": "f"}, state=TaskState.FAILED), LEAF], False),
    ],
)
def test_children_that_are_missing_or_too_many_are_found(tasks: list[Task], is_right: bool) -> None:
    assert bool([*check_families(evidence(*tasks))]) is not is_right


MEMBERS = [
    task(f"g{number}", "leaf", {"name": "g"}, group="g", order=number, result=b"{}")
    for number in range(4)
]
ENDS = [[one.id, "success", True] for one in MEMBERS]


def follower(ends: Any = ENDS, **fields: Any) -> Task:
    members = {"started_at": FINISHED_AT, "finished_at": FINISHED_AT + 1, **fields}
    result = json.dumps({"ends": ends}).encode()
    return task("g", "gather", {"name": "g"}, result=result, **members)


@pytest.mark.parametrize(
    ("one", "mistake"),
    [
        (follower(), ""),
        (follower(ENDS[:3]), "has read"),
        (follower(started_at=FINISHED_AT - 0.5), "began before the last member"),
    ],
)
def test_a_follower_that_begins_too_early_or_misses_a_result_is_found(
    one: Task, mistake: str
) -> None:
    acknowledged = [Acknowledged("g", "gather", {"members": [one.id for one in MEMBERS]})]
    found = [*check_groups(evidence(one, *MEMBERS), acknowledged)]
    assert mistake in "".join(found)
    assert bool(found) is bool(mistake)


def test_a_batch_that_was_accepted_twice_or_in_part_is_found() -> None:
    twice = [*check_groups(evidence(follower(), *MEMBERS, task("h", "gather", {"name": "g"})), [])]
    assert any("accepted 2 times" in found for found in twice)
    part = [*check_groups(evidence(follower(), *MEMBERS[1:]), [])]
    assert any("has 3 members" in found for found in part)


# -- keys ----------------------------------------------------------------------------------------


def keyed(task_id: str, type_name: str, begins: float, ends: float) -> Task:
    span = {"started_at": begins, "finished_at": ends, "order": int(begins)}
    return task(task_id, type_name, {"key": "k"}, concurrency_key="k", **span)


@pytest.mark.parametrize(
    ("tasks", "is_right"),
    [
        ([keyed("1", "alone", 10, 20), keyed("2", "alone", 20, 30)], True),
        ([keyed("1", "alone", 10, 20), keyed("2", "alone", 19, 30)], False),
        ([keyed("1", "in-twos", 10, 20), keyed("2", "in-twos", 19, 30)], True),
    ],
)
def test_more_attempts_at_once_than_a_key_allows_are_found(
    tasks: list[Task], is_right: bool, tmp_path: Path
) -> None:
    assert bool([*check_keys(evidence(*tasks), tmp_path / "violations")]) is not is_right


def test_an_interrupted_attempt_holds_its_key_until_it_has_ended(tmp_path: Path) -> None:
    first, second = keyed("1", "alone", 10, 40), keyed("2", "alone", 15, 20)
    history = [attempt(1, "lost", 10, 16), attempt(2, "success", 30, 40)]
    [found] = check_keys(evidence(first, second, **{"1": history}), tmp_path / "violations")
    assert "2 attempts at once" in found


def test_attempts_that_have_met_are_found(tmp_path: Path) -> None:
    (tmp_path / "violations").write_text("k: 1 1 beside ['2']\n")
    [found] = check_keys(evidence(), tmp_path / "violations")
    assert "k: 1 1 beside ['2']" in found


def test_two_unfinished_tasks_with_one_unique_key_are_found(tmp_path: Path) -> None:
    first = task("1", "alone", {}, unique_key="u", order=1, started_at=10.0, finished_at=20.0)
    after = task("2", "alone", {}, unique_key="u", order=2, started_at=21.0, finished_at=30.0)
    beside = task("2", "alone", {}, unique_key="u", order=2, started_at=19.0, finished_at=30.0)
    assert [*check_keys(evidence(first, after), tmp_path / "violations")] == []
    [found] = check_keys(evidence(first, beside), tmp_path / "violations")
    assert "were unfinished at once" in found


# -- interruptions -------------------------------------------------------------------------------


def test_an_interruption_without_a_strike_at_its_worker_is_found() -> None:
    since_boot = time.time() - time.monotonic()
    mail = task("m", "email", {}, attempt=2)
    seen = evidence(mail, m=[attempt(1, "lost"), attempt(2, "success")])
    at = FINISHED_AT - 0.5 - since_boot
    struck = Kill("worker SIGKILL", at, frozenset({WORKER.pid}), 1)
    host = Kill("effects SIGKILL", at, frozenset({5}), 1, parent=WORKER.pid)
    other = Kill("worker SIGKILL", at, frozenset({7}), 1)
    assert without_reason(seen, [other, struck]) == []
    assert without_reason(seen, [host]) == []
    [found] = without_reason(seen, [other])
    assert "interrupted without a reason: m" in found
