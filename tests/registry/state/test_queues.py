"""The queues: order, and memory that follows what they hold rather than what has passed through."""

from __future__ import annotations

from afterwards.registry.state.limits import Throttles
from afterwards.registry.state.queues import Crowd, DueQueue, ReadyQueue
from tests.registry.bench import TurnedClock


def drained(queue: ReadyQueue, kind: str = "async") -> list[str]:
    order = []
    while (first := queue.first(kind)) is not None:
        task_id = first[2]
        queue.discard(task_id, kind, "note")
        order.append(task_id)
    return order


def test_ready_tasks_come_by_priority_and_then_by_age() -> None:
    queue = ReadyQueue(Throttles(TurnedClock()))
    for age, (task_id, priority) in enumerate([("a", 4), ("b", 9), ("c", 4), ("d", 0), ("e", 9)]):
        queue.push(task_id, "async", "note", priority, age)

    assert drained(queue) == ["b", "e", "a", "c", "d"]


def test_a_task_that_is_put_back_with_its_age_has_its_place_again() -> None:
    queue = ReadyQueue(Throttles(TurnedClock()))
    for age, task_id in enumerate("abc"):
        queue.push(task_id, "async", "note", 4, age)
    queue.discard("a", "async", "note")
    queue.push("a", "async", "note", 4, 0)

    assert drained(queue) == ["a", "b", "c"]


def test_kinds_do_not_see_each_other() -> None:
    queue = ReadyQueue(Throttles(TurnedClock()))
    queue.push("a", "async", "note", 4, 0)

    assert queue.first("thread") is None
    assert (queue.waits("async"), queue.waits("thread")) == (True, False)
    queue.discard("a", "thread", "note")
    assert drained(queue) == ["a"]


def test_the_line_of_a_crowd_goes_with_its_last_task() -> None:
    queue = ReadyQueue(Throttles(TurnedClock()))
    crowds = [Crowd("async", size) for size in range(1, 100)]
    for crowd in crowds:
        queue.push(f"a{crowd.size}", crowd, "note", 4, 0)
        queue.push(f"b{crowd.size}", crowd, "other", 4, 1)
        queue.discard(f"a{crowd.size}", crowd, "note")
    assert queue.crowds() == crowds

    for crowd in crowds:
        queue.discard(f"b{crowd.size}", crowd, "other")

    assert queue.crowds() == []


def test_the_oldest_of_each_kind_and_priority_are_told() -> None:
    queue = ReadyQueue(Throttles(TurnedClock()))
    for age, (task_id, kind, priority) in enumerate(
        [("a", "async", 4), ("b", "async", 4), ("c", "thread", 4), ("d", "async", 9)]
    ):
        queue.push(task_id, kind, "note", priority, age)

    assert sorted(queue.oldest()) == ["a", "c", "d"]


def test_a_ready_queue_does_not_grow_with_what_was_taken_out() -> None:
    queue = ReadyQueue(Throttles(TurnedClock()))
    queue.push("old", "async", "note", 9, 0)
    for age in range(1, 20_000):
        queue.push(str(age), "async", "note", age % 10, age)
        queue.discard(str(age), "async", "note")

    assert sum(map(len, queue._lanes["async"]["note"]._heaps)) < 2_000
    assert drained(queue) == ["old"]


def test_due_tasks_come_in_the_order_of_their_times() -> None:
    queue = DueQueue()
    for task_id, due in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
        queue.push(task_id, due)

    assert queue.next_due() == 1.0
    assert queue.first_due(0.5) is None
    assert queue.first_due(2.5) == "a"
    queue.discard("a")
    assert queue.first_due(2.5) == "b"
    queue.discard("b")
    assert queue.first_due(2.5) is None
    assert queue.next_due() == 3.0


def test_of_tasks_that_are_due_at_the_same_time_the_one_accepted_first_comes_first() -> None:
    queue = DueQueue()
    for task_id, order in (("z", 1), ("a", 3), ("m", 2)):
        queue.push(task_id, 1.0, order)

    due = []
    while (first := queue.first_due(1.0)) is not None:
        due.append(first)
        queue.discard(first)
    assert due == ["z", "m", "a"]


def test_a_task_that_is_pushed_again_is_due_at_its_last_time() -> None:
    queue = DueQueue()
    queue.push("a", 1.0)
    queue.push("a", 5.0)

    assert queue.first_due(4.0) is None
    assert queue.first_due(5.0) == "a"


def test_a_due_queue_does_not_grow_with_what_was_taken_out() -> None:
    queue = DueQueue()
    queue.push("late", 1e9)
    for number in range(20_000):
        queue.push(str(number), float(number))
        queue.discard(str(number))

    assert len(queue._heap) < 2_000
    assert queue.next_due() == 1e9
