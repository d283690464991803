"""The worker of a turn when several bring something; none of them is left waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from afterwards.registry.engine.turns import LONGEST_SECONDS, Turns, WorkItem

DEADLINE_SECONDS = 60.0
LATER = 10 * DEADLINE_SECONDS


@dataclass(eq=False)
class Note(WorkItem):
    """An item that can be told from others."""

    number: int = 0


class Workshop:
    """Does what it is given, and notes who did it; a turn can be held up."""

    def __init__(self) -> None:
        self.turns = Turns(self._work)
        self.done: list[tuple[str, list[int]]] = []
        """The thread and the items of each turn that had any."""
        self.empty_turns = 0
        self.next_seconds = LATER
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()
        self._at_work = threading.Lock()

    def _work(self, items: Sequence[WorkItem]) -> float:
        assert self._at_work.acquire(blocking=False), "two at work"
        notes = [item for item in items if isinstance(item, Note)]
        if notes:
            self.done.append((threading.current_thread().name, [note.number for note in notes]))
        else:
            self.empty_turns += 1
        self.begun.release()
        assert self.go_on.wait(DEADLINE_SECONDS)
        self._at_work.release()
        for item in items:
            item.finish()
        return self.next_seconds

    def bring(self, number: int) -> threading.Thread:
        """In a thread of its own, which is named after it."""
        thread = threading.Thread(
            target=self.turns.bring, args=[Note(number=number)], name=f"bringer {number}"
        )
        thread.start()
        return thread

    def hold_up(self) -> threading.Thread:
        """Begin a turn, with item 0, that does not end."""
        self.go_on.clear()
        holder = self.bring(0)
        assert self.begun.acquire(timeout=DEADLINE_SECONDS)
        return holder

    def has(self, number: int) -> bool:
        """True if so many items wait for the next turn."""
        return len(self.turns._brought) == number


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
def keeper(workshop: Workshop) -> Iterator[threading.Thread]:
    """The thread for what nobody brings; it has taken its first turn."""
    thread = threading.Thread(target=workshop.turns.run, name="keeper")
    thread.start()
    eventually(lambda: workshop.empty_turns > 0)
    yield thread
    workshop.go_on.set()
    workshop.turns.close()
    join(thread)


def test_a_lone_bringer_does_its_work_itself(workshop: Workshop) -> None:
    join(workshop.bring(1))
    join(workshop.bring(2))
    assert workshop.done == [("bringer 1", [1]), ("bringer 2", [2])]


def test_what_comes_during_a_turn_is_done_in_one_by_whoever_came_first(workshop: Workshop) -> None:
    threads = [workshop.hold_up()]
    for number in (1, 2, 3):
        threads.append(workshop.bring(number))
        eventually(partial(workshop.has, number))
    workshop.go_on.set()
    join(*threads)
    assert workshop.done == [("bringer 0", [0]), ("bringer 1", [1, 2, 3])]


def test_a_turn_is_passed_on_and_not_kept(workshop: Workshop) -> None:
    threads = [workshop.hold_up(), workshop.bring(1)]
    eventually(partial(workshop.has, 1))
    workshop.go_on.set()
    join(threads[0])
    join(threads[1])
    assert [name for name, _ in workshop.done] == ["bringer 0", "bringer 1"]


def test_one_at_a_time_works_and_every_errand_is_done_once(
    workshop: Workshop, keeper: threading.Thread
) -> None:
    def bring_many(first: int) -> None:
        for number in range(first, first + 200):
            item = Note(number=number)
            assert workshop.turns.bring(item)
            assert item.done

    threads = [threading.Thread(target=bring_many, args=[1_000 * n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for number in range(200):
        workshop.turns.leave(Note(number=-1 - number))
    join(*threads)
    eventually(lambda: sum(len(numbers) for _, numbers in workshop.done) == 8 * 200 + 200)
    assert len({number for _, numbers in workshop.done for number in numbers}) == 8 * 200 + 200


def test_what_is_left_is_done_without_a_bringer(
    workshop: Workshop, keeper: threading.Thread
) -> None:
    workshop.turns.leave(Note(number=1))
    eventually(lambda: workshop.done == [("keeper", [1])])


def test_what_is_left_during_a_turn_is_done_after_it(
    workshop: Workshop, keeper: threading.Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.engine.turns.LONGEST_SECONDS", LATER)
    holder = workshop.hold_up()
    workshop.turns.leave(Note(number=1))
    # The keeper has looked, and found the turn taken.
    eventually(lambda: not workshop.turns._alarm.is_set())
    workshop.go_on.set()
    join(holder)
    eventually(lambda: workshop.done[1:] == [("keeper", [1])])


def test_a_turn_that_says_when_there_is_more_to_do_is_followed_by_one_then(
    workshop: Workshop, keeper: threading.Thread
) -> None:
    workshop.turns._next_look = time.monotonic() + LATER
    before = workshop.empty_turns
    workshop.next_seconds = 0.001
    join(workshop.bring(1))
    workshop.next_seconds = LATER
    eventually(lambda: workshop.empty_turns > before)


def test_there_is_a_turn_now_and_then_whatever_the_last_one_said(
    workshop: Workshop, keeper: threading.Thread
) -> None:
    assert workshop.next_seconds > LONGEST_SECONDS
    before = workshop.empty_turns
    eventually(lambda: workshop.empty_turns >= before + 2)


def test_closing_ends_the_thread_after_what_was_brought(
    workshop: Workshop, keeper: threading.Thread
) -> None:
    threads = [workshop.hold_up(), workshop.bring(1)]
    eventually(partial(workshop.has, 1))
    workshop.turns.close()
    keeper.join(0.1)
    assert keeper.is_alive()
    workshop.go_on.set()
    join(*threads, keeper)
    assert [numbers for _, numbers in workshop.done] == [[0], [1]]


def test_after_closing_nothing_is_done(workshop: Workshop) -> None:
    workshop.turns.close()
    item = Note(number=1)
    assert not workshop.turns.bring(item)
    assert not item.done
    assert workshop.done == []
