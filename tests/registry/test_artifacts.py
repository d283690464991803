"""Artifacts are listed with the success that made them, and files go with what needed them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwards.artifacts import Artifact, encoded
from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import JournalUnavailable
from afterwards.lifecycle import Task
from afterwards.registry.engine import remover
from afterwards.registry.engine.memory import MemoryRegistry, Surroundings
from afterwards.registry.journal.base import Group, Journal
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.nowhere import NullJournal
from afterwards.registry.journal.removals import STEP
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.requests import Add, Delete, Find, Get, Inspect, Succeeded
from afterwards.system.artifact_files import remove_all
from tests.registry.bench import Bench, keys_of
from tests.registry.conftest import Reach
from tests.registry.peers import SERVICE, Peer, ask, eventually, make_task, raised

LIST = encoded([Artifact("report.pdf", 4, "0" * 64, 1)])
NOBODY = Surroundings(is_alive=lambda _: True, when_gone=lambda *_: None, end=lambda _: None)


class Outputs:
    """The output directory, and what tasks have in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self, task: Task, *attempts: int) -> None:
        """Have attempts leave something."""
        for attempt in attempts:
            folder = self.path / task.id / str(attempt)
            folder.mkdir(parents=True)
            (folder / "report.pdf").write_bytes(b"%PDF")

    def left(self, task: Task) -> list[str]:
        folder = self.path / task.id
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    (tmp_path / "outputs").mkdir()
    return Outputs(tmp_path / "outputs")


def started(outputs: Outputs, journal: Journal) -> MemoryRegistry:
    return MemoryRegistry(SERVICE, journal=journal, output_dir=outputs.path, surroundings=NOBODY)


@pytest.fixture(params=["memory", "journal"])
def registry(
    request: pytest.FixtureRequest, tmp_path: Path, outputs: Outputs
) -> Iterator[MemoryRegistry]:
    is_kept = request.param == "journal"
    registry = started(outputs, SqliteJournal(tmp_path / "j") if is_kept else NullJournal())
    yield registry
    registry.close()


@pytest.fixture
def peer(registry: MemoryRegistry) -> Peer:
    peer = Peer(registry, Worker(SERVICE, 1, 1), {"async": 10})
    peer.join()
    return peer


def success(task: Task, attempt: int, artifacts: str | None = LIST) -> Succeeded:
    return Succeeded(task.id, attempt, b"{}", 0.1, artifacts=artifacts)


def test_a_task_lists_what_its_success_has_made(reach: Reach) -> None:
    task, other = make_task(), make_task()
    peer = reach.peer({"async": 2})
    for one in (task, other):
        peer.run(one)
    peer.report(success(task, 1))
    peer.succeed(peer.table[other.id])
    assert reach.ask(Get(task.id)).artifacts == LIST
    assert reach.ask(Inspect(task.id)).task.artifacts == LIST
    listed = {found.id: found.artifacts for found in reach.ask(Find()).tasks}
    assert listed == {task.id: LIST, other.id: None}
    reach.ask(Delete(task.id))


@pytest.mark.parametrize("keys", [None, keys_of("k1")], ids=["plain", "sealed"])
def test_the_list_outlasts_a_crash(bench: Bench, keys: EncryptionKeys | None) -> None:
    task = bench.task()
    registry = bench.registry(journal=bench.journal(keys))
    peer = bench.peer(registry)
    peer.run(task)
    peer.report(success(task, 1))
    found = b"".join(path.read_bytes() for path in bench.directory.iterdir())
    assert (b"report.pdf" in found) == (keys is None)
    registry = bench.registry(journal=bench.crash(keys))
    assert ask(registry, Get(task.id)).artifacts == LIST


def test_with_a_task_go_its_files(registry: MemoryRegistry, peer: Peer, outputs: Outputs) -> None:
    task = make_task()
    peer.run(task)
    outputs.make(task, 1)
    peer.report(success(task, 1))
    assert outputs.left(task) == ["1"]
    ask(registry, Delete(task.id))
    eventually(lambda: not outputs.left(task), "its files are gone")


def test_a_success_leaves_nothing_of_attempts_before_it(peer: Peer, outputs: Outputs) -> None:
    task = make_task()
    peer.release(peer.run(task))
    peer.beat()
    outputs.make(task, 1, 2)
    peer.report(success(task, 2))
    eventually(lambda: outputs.left(task) == ["2"], "the first attempt's files are gone")


def test_a_failure_leaves_nothing(peer: Peer, outputs: Outputs) -> None:
    task = make_task()
    claim = peer.run(task)
    outputs.make(task, 1)
    peer.fail(claim)
    eventually(lambda: not outputs.left(task), "its files are gone")


def test_a_refused_report_lists_nothing(
    registry: MemoryRegistry, peer: Peer, outputs: Outputs
) -> None:
    task = make_task()
    peer.release(peer.run(task))
    peer.beat()
    assert raised(peer.ask(success(task, 1)))
    outputs.make(task, 1, 2)
    peer.report(success(task, 2, None))
    assert ask(registry, Get(task.id)).artifacts is None
    eventually(lambda: outputs.left(task) == ["2"], "the late attempt's files are gone")


def test_what_a_crash_has_left_to_do_is_done_after_it(tmp_path: Path, outputs: Outputs) -> None:
    # Without an output directory nothing is removed: so it is if the process ends just then.
    registry = MemoryRegistry(SERVICE, journal=SqliteJournal(tmp_path / "j"), surroundings=NOBODY)
    peer = Peer(registry, Worker(SERVICE, 1, 1), {"async": 2 * STEP})
    peer.join()
    tasks = [make_task() for _ in range(STEP + 1)]
    registry.exchange(None, 0, [Add(task) for task in tasks])

    def are_claimed() -> bool:
        peer.beat()
        return len(peer.table) == len(tasks)

    eventually(are_claimed, "all are claimed")
    for task in tasks:
        outputs.make(task, 1)
    peer.exchange(*(success(task, 1) for task in tasks))
    registry.exchange(None, 0, [Delete(task.id) for task in tasks])
    registry.close()

    journal = SqliteJournal(tmp_path / "j")
    registry = started(outputs, journal)
    eventually(lambda: [*outputs.path.iterdir()] == [], "all files are gone")

    def is_struck_off() -> bool:
        # The last step waits for a group that is written anyway.
        registry.exchange(None, 0, [Add(make_task())])
        return not journal.to_remove("")

    eventually(is_struck_off, "it is struck off")
    registry.close()


def test_what_cannot_be_removed_is_tried_again_and_holds_up_nothing(
    tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [True]

    def remove(output_dir: Path, task_id: str, attempt: int) -> None:
        if task_id == tasks[0].id and failing:
            raise OSError(errno.EIO, "Input/output error")
        remove_all(output_dir, task_id, attempt)

    monkeypatch.setattr(remover, "remove_all", remove)
    monkeypatch.setattr(remover, "AGAIN_SECONDS", 0.01)
    registry = started(outputs, SqliteJournal(tmp_path / "j"))
    peer = Peer(registry, Worker(SERVICE, 1, 1), {"async": 10})
    peer.join()
    tasks = [make_task(), make_task()]
    for task in tasks:
        peer.run(task)
        outputs.make(task, 1)
        peer.report(success(task, 1))
        ask(registry, Delete(task.id))
    eventually(lambda: not outputs.left(tasks[1]), "the other's files are gone")
    assert outputs.left(tasks[0]) == ["1"]
    failing.clear()
    eventually(lambda: not outputs.left(tasks[0]), "its files are gone")
    registry.close()


def test_a_group_that_is_not_written_strikes_nothing_off(tmp_path: Path, outputs: Outputs) -> None:
    class Failing(SqliteJournal):
        refusing = False

        def write(self, group: Group) -> None:
            if self.refusing and group.removed:
                raise JournalUnavailable("database or disk is full")
            super().write(group)

    journal = Failing(tmp_path / "j")
    registry = started(outputs, journal)
    peer = Peer(registry, Worker(SERVICE, 1, 1), {"async": 10})
    peer.join()
    task = make_task()
    peer.fail(peer.run(task))
    eventually(lambda: registry.committer.remover.done, "it is carried out")
    journal.refusing = True
    assert isinstance(registry.exchange(None, 0, [Add(make_task())]).answers[0], JournalUnavailable)
    assert len(journal.to_remove("")) == 1
    journal.refusing = False
    eventually(
        lambda: registry.exchange(None, 0, [Add(make_task())]).answers == [None], "it is written"
    )
    assert not journal.to_remove("")
    registry.close()
