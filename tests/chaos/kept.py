"""The judge of what the service keeps: files, children, groups and keys."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from afterwards.artifacts import decoded, own_file
from afterwards.lifecycle import Task, TaskState
from tests.chaos.clients import Acknowledged
from tests.chaos.evidence import Evidence
from tests.chaos.modules.shapes import PICTURE, TITLE, picture_of
from tests.chaos.submissions import FOLLOWER, MEMBERS

ALLOWED: Final = {"alone": 1, "in-twos": 2}
"""The attempts at once that these types allow a key."""


# -- files ---------------------------------------------------------------------------------------


def check_files(evidence: Evidence, output_dir: Path) -> Iterator[str]:
    """Every file of a task that has succeeded is whole."""
    for task in evidence.of_type("draw", "draw-thread"):
        if task.state is not TaskState.SUCCESS:
            continue
        content = {
            PICTURE: picture_of(task.id, json.loads(task.payload)["size"]),
            TITLE: task.id.encode(),
        }
        listed = {one.name: one.size for one in decoded(task.artifacts)}
        if listed != {name: len(data) for name, data in content.items()}:
            yield f"{task.id} lists {listed}"
        folder = output_dir / task.id / str(task.attempt)
        for name, data in content.items():
            if not (folder / name).is_file() or (folder / name).read_bytes() != data:
                yield f"{folder / name} is not what was drawn"


def unlisted_files(evidence: Evidence, output_dir: Path) -> list[Path]:
    """The files that belong to no task that has succeeded."""
    listed = {
        output_dir / own_file(task.id)
        if one.attempt == 0
        else output_dir / task.id / str(one.attempt) / one.name
        for task in evidence.tasks.values()
        for one in decoded(task.artifacts)
    }
    return sorted(path for path in output_dir.rglob("*") if path.is_file() and path not in listed)


# -- children and groups -------------------------------------------------------------------------


def check_families(evidence: Evidence) -> Iterator[str]:
    """Every parent that has succeeded has each of its children once; no other has more."""
    for parent in evidence.of_type("family", "family-thread", "family-process"):
        name = json.loads(parent.payload)["name"]
        found = Counter((one.type, _name_of(one)) for one in evidence.children.get(parent.id, ()))
        at_once = Counter([("leaf", f"{name}/now")])
        wanted = at_once + Counter([("leaf", f"{name}/leaf"), ("http", f"{name}/call")])
        if parent.state is TaskState.SUCCESS and found != wanted:
            yield f"{parent.id} has succeeded and has the children {found}"
        if parent.state is not TaskState.SUCCESS and not found <= at_once:
            yield f"{parent.id} is {parent.state} and has the children {found}"
    for parent_id in evidence.children.keys() - evidence.tasks.keys():
        yield f"children of no task: {parent_id}"


def _name_of(child: Task) -> str:
    payload: Mapping[str, Any] = json.loads(child.payload)
    name: str = payload["json"]["name"] if child.type == "http" else payload["name"]
    return name


def check_groups(evidence: Evidence, acknowledged: Iterable[Acknowledged]) -> Iterator[str]:
    """Each follower has run once, after all members of its group, and has read their results."""
    members: dict[str, list[Task]] = defaultdict(list)
    for task in sorted(evidence.tasks.values(), key=lambda task: task.order):
        if task.group is not None:
            members[task.group].append(task)
    followers = evidence.of_type(FOLLOWER)
    names = Counter(_name_of(one) for one in followers)
    for name, number in names.items():
        if number > 1:
            yield f"the batch {name} was accepted {number} times"
    for follower in followers:
        yield from _check_group(follower, members.get(follower.id, []), evidence)
    for one in acknowledged:
        found = [task.id for task in members.get(one.task_id, ())]
        if one.kind == FOLLOWER and found != one.content["members"]:
            yield f"the group {one.task_id} has the members {found}"


def _check_group(follower: Task, members: list[Task], evidence: Evidence) -> Iterator[str]:
    if len(members) != len(MEMBERS):
        yield f"the group {follower.id} has {len(members)} members"
    if follower.state is not TaskState.SUCCESS:
        return
    last = max((one.finished_at or 0.0 for one in members), default=0.0)
    if _first_start(follower, evidence) < last:
        yield f"{follower.id} began before the last member of its group had ended"
    ends = [[one.id, one.state.value, one.result is not None] for one in members]
    if json.loads(follower.result or b"{}") != {"ends": ends}:
        yield f"{follower.id} has read {follower.result!r}, not {ends}"


def _first_start(task: Task, evidence: Evidence) -> float:
    history = evidence.histories.get(task.id)
    return history[0].started_at if history else task.started_at or 0.0


# -- keys ----------------------------------------------------------------------------------------


def check_keys(evidence: Evidence, violations: Path) -> Iterator[str]:
    """Never more attempts at once than a key allows, and one unfinished task of a unique key."""
    if violations.exists():
        yield from (f"too many at once: {line}" for line in violations.read_text().splitlines())
    by_key: dict[str, list[Task]] = defaultdict(list)
    unique: dict[str, list[Task]] = defaultdict(list)
    for task in sorted(evidence.tasks.values(), key=lambda task: task.order):
        if task.concurrency_key is not None and task.type in ALLOWED:
            by_key[task.concurrency_key].append(task)
        if task.unique_key is not None:
            unique[task.unique_key].append(task)
    for key, tasks in by_key.items():
        most = _most_at_once(tasks, evidence)
        if most > ALLOWED[tasks[0].type]:
            yield f"{most} attempts at once at tasks with the key {key}"
    for key, tasks in unique.items():
        for former, latter in pairwise(tasks):
            begins = _first_start(latter, evidence) if latter.attempt else latter.finished_at
            if (former.finished_at or 0.0) > (begins or 0.0):
                yield f"{latter.id} and {former.id} were unfinished at once, with the key {key}"


def _most_at_once(tasks: Iterable[Task], evidence: Evidence) -> int:
    """The most attempts that the history has at one time."""
    changes: list[tuple[float, int]] = []
    for task in tasks:
        history = evidence.histories.get(task.id)
        spans = (
            [(one.started_at, one.finished_at) for one in history]
            if history
            else [(task.started_at, task.finished_at)]
        )
        for begins, ends in spans:
            if begins is not None and ends is not None:
                # Ends come first: a place that is freed is given away in the same group.
                changes += [(begins, 1), (ends, -1)]
    most = running = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most


def check_kept(
    evidence: Evidence,
    acknowledged: Iterable[Acknowledged],
    output_dir: Path,
    violations: Path,
) -> Iterator[str]:
    """All of it."""
    acknowledged = [*acknowledged]
    yield from check_files(evidence, output_dir)
    yield from check_families(evidence)
    yield from check_groups(evidence, acknowledged)
    yield from check_keys(evidence, violations)
