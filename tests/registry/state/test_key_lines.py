"""Tasks that wait for their key: the right ones stand in the lanes, and no change costs more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterwards.lifecycle import Task
from afterwards.registry.protocol.clock import SystemClock
from afterwards.registry.protocol.requests import TypeLimits
from afterwards.registry.state import key_lines, queues
from afterwards.registry.state.key_lines import KeyLines
from afterwards.registry.state.limits import Throttles
from afterwards.registry.state.queues import ReadyQueue
from tests.registry.peers import make_task


def of_key(key: str = "acme", priority: int = 4) -> Task:
    return make_task(concurrency_key=key, priority=priority)


def first(ready: ReadyQueue) -> str | None:
    place = ready.first("async")
    return None if place is None else place[2]


def in_lanes(ready: ReadyQueue) -> set[str]:
    return {task_id for lane in ready._lanes["async"].values() for task_id in lane.members}


class Model:
    """The tasks that wait and run, without any order kept."""

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[Task, int]] = {}
        self.running: dict[str, Task] = {}
        self.allowed = 1

    def shown(self) -> set[str]:
        found = set()
        for key in {task.concurrency_key for task, _ in self.waiting.values()}:
            running = [t for t in self.running.values() if t.concurrency_key == key]
            places = [
                (-task.priority, age, task.id)
                for task, age in self.waiting.values()
                if task.concurrency_key == key
            ]
            if len(running) < self.allowed:
                found.add(min(places)[2])
        return found


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "discard", "claim", "end", "put back", "limit"]),
        st.integers(0, 9),
        st.sampled_from("ab"),
    ),
    max_size=60,
)


@given(steps=STEPS)
@settings(max_examples=150, deadline=None)
def test_the_first_task_of_each_key_with_room_stands_in_its_lane_and_no_other(
    steps: list[tuple[str, int, str]],
) -> None:
    ready = ReadyQueue(Throttles(SystemClock()))
    lines, model = KeyLines(ready), Model()
    removed: list[tuple[Task, int]] = []
    for age, (step, number, key) in enumerate(steps):
        waiting = list(model.waiting.values())
        if step == "push":
            task = of_key(key, number)
            lines.push(task, "async", age)
            model.waiting[task.id] = task, age
        elif step == "put back" and removed:
            # As an undone group does: with the age that it had.
            task, old = removed.pop()
            lines.push(task, "async", old)
            model.waiting[task.id] = task, old
        elif step == "discard" and waiting:
            task, old = waiting[number % len(waiting)]
            lines.discard(task, "async", old)
            removed.append(model.waiting.pop(task.id))
        elif step == "claim" and model.shown():
            task, old = model.waiting.pop(min(model.shown()))
            lines.discard(task, "async", old)
            lines.count(task, 1)
            model.running[task.id] = task
        elif step == "end" and model.running:
            _, task = model.running.popitem()
            lines.count(task, -1)
        elif step == "limit":
            model.allowed = 1 + number % 3
            lines.limit({"note": TypeLimits(concurrency_per_key=model.allowed)})
        assert in_lanes(ready) == model.shown()
        tasks = [*(task for task, _ in model.waiting.values()), *model.running.values()]
        assert len(lines) == len({task.concurrency_key for task in tasks})


def test_a_hundred_thousand_tasks_of_one_key_keep_one_in_its_lane() -> None:
    ready = ReadyQueue(Throttles(SystemClock()))
    lines = KeyLines(ready)
    tasks = [of_key() for _ in range(100_000)]
    for age, task in enumerate(tasks):
        lines.push(task, "async", age)

    assert in_lanes(ready) == {tasks[0].id}
    for age in range(99_999, 0, -1):
        lines.discard(tasks[age], "async", age)
    assert in_lanes(ready) == {tasks[0].id}
    [waiting] = lines._keys["note", "acme"].lines.values()
    assert len(waiting._heap) < 1_000, "what is removed is forgotten"


def test_coming_and_going_in_one_key_leaves_no_entries_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queues, "_SLACK", 10)
    monkeypatch.setattr(key_lines, "_SLACK", 10)
    ready = ReadyQueue(Throttles(SystemClock()))
    lines = KeyLines(ready)
    running, staying = of_key(), of_key()
    lines.count(running, 1)
    lines.push(staying, "async", 0)
    for age in range(1, 1_000):
        task = of_key()
        lines.push(task, "async", age)
        lines.count(running, -1)
        lines.count(running, 1)
        lines.discard(task, "async", age)

    [waiting] = lines._keys["note", "acme"].lines.values()
    assert len(waiting._heap) < 30
    assert ready._lanes["async"]["note"]._entries < 30
