"""The end of an overdue call, of its host, and of the others in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from afterwards_executors.base import End, Executor, Outcome, Slots, Work
from afterwards_executors.hosts import time_limits
from afterwards_executors.hosts.settings import HostSettings
from tests.executors import guests, work
from tests.executors.conftest import DEADLINE_SECONDS, is_running, wait_until

pytestmark = pytest.mark.processes

SHARED = pytest.mark.parametrize("shared", ["async", "thread"])
"""Kinds whose hosts run many calls."""
LONG = HostSettings(overdue_seconds=3600.0)
SHORT = HostSettings(overdue_seconds=0.3)


@pytest.fixture(autouse=True)
def little_time_to_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limits, "STOP_SECONDS", 0.1)


def waiting(executor: Executor, gate: Path, **options: Any) -> Future[Outcome]:
    """A call that runs, and goes on whatever it is told until its gate is open."""
    function = work.swallow_cancellation if executor.kind == "async" else work.wait_for
    future = executor.submit(Work(function, (str(gate),), **options))
    wait_until(lambda: is_running(gate))
    return future


def pid(executor: Executor) -> bytes:
    function = work.report_pid_async if executor.kind == "async" else work.report_pid
    return executor.submit(Work(function)).result(DEADLINE_SECONDS).value or b""


@SHARED
def test_an_overdue_call_keeps_its_slot_and_its_report_waits_until_it_has_ended(
    shared: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(shared, 4, LONG)
    neighbour = waiting(executor, tmp_path / "neighbour")
    overdue = waiting(executor, tmp_path / "overdue", timeout_seconds=0.1)
    wait_until(lambda: executor.slots() == Slots(total=4, busy=1, stuck=1))

    assert not overdue.done()
    (tmp_path / "overdue").touch()
    assert overdue.result(DEADLINE_SECONDS).end is End.TIMED_OUT
    assert executor.slots() == Slots(total=4, busy=1, stuck=0)
    assert not neighbour.done()
    (tmp_path / "neighbour").touch()
    assert neighbour.result(DEADLINE_SECONDS).end is End.SUCCEEDED


@SHARED
def test_a_host_with_an_overdue_call_takes_nothing_new(
    shared: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(shared, 4, LONG)
    before = pid(executor)
    neighbour = waiting(executor, tmp_path / "neighbour")
    waiting(executor, tmp_path / "overdue", timeout_seconds=0.1)
    wait_until(lambda: executor.slots().stuck == 1)

    assert pid(executor) != before
    assert not neighbour.done()


@SHARED
def test_a_host_in_which_only_overdue_calls_are_left_is_ended(
    shared: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(shared, 4, LONG)
    neighbour = waiting(executor, tmp_path / "neighbour")
    overdue = waiting(executor, tmp_path / "overdue", timeout_seconds=0.1)
    wait_until(lambda: executor.slots().stuck == 1)
    (tmp_path / "neighbour").touch()

    assert neighbour.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    assert overdue.result(DEADLINE_SECONDS).end is End.TIMED_OUT
    assert executor.slots().free == 4


@SHARED
def test_after_a_while_an_overdue_call_ends_with_its_host_and_the_others_are_released(
    shared: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(shared, 4, SHORT)
    neighbour = waiting(executor, tmp_path / "neighbour")
    overdue = waiting(executor, tmp_path / "overdue", timeout_seconds=0.1)

    assert overdue.result(DEADLINE_SECONDS).end is End.TIMED_OUT
    assert neighbour.result(DEADLINE_SECONDS).end is End.RELEASED
    wait_until(lambda: executor.slots().free == 4)


@SHARED
def test_of_three_hosts_with_overdue_calls_the_first_is_ended(
    shared: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(shared, 10, LONG)
    neighbours, overdue = [], []
    for number in range(3):
        neighbours.append(waiting(executor, tmp_path / f"neighbour{number}"))
        gate = tmp_path / f"overdue{number}"
        overdue.append(waiting(executor, gate, timeout_seconds=0.1))
        wait_until(lambda: overdue[-1].is_overdue)  # type: ignore[attr-defined] # a host's

    assert overdue[0].result(DEADLINE_SECONDS).end is End.TIMED_OUT
    assert neighbours[0].result(DEADLINE_SECONDS).end is End.RELEASED
    assert not any(future.done() for future in (*overdue[1:], *neighbours[1:]))


@SHARED
def test_a_call_that_goes_on_can_be_cancelled_by_force_with_its_host(
    shared: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(shared, 4, LONG)
    neighbour = waiting(executor, tmp_path / "neighbour")
    future = waiting(executor, tmp_path / "cancelled")

    assert executor.cancel(future, "not wanted", by_force=True)
    outcome = future.result(DEADLINE_SECONDS)
    assert (outcome.end, outcome.error) == (End.CANCELLED, "not wanted")
    assert neighbour.result(DEADLINE_SECONDS).end is End.RELEASED


def test_a_time_out_says_when_the_call_wanted_another_try(
    hosted: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(hosted, 1, SHORT)
    function = guests.delay_and_wait_async if hosted == "async" else guests.delay_and_wait
    # So that loading the module is not a part of the call's time.
    (tmp_path / "open").touch()
    first = executor.submit(Work(function, (str(tmp_path / "open"),)))
    assert first.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    future = executor.submit(Work(function, (str(tmp_path / "gate"),), timeout_seconds=0.5))
    outcome = future.result(DEADLINE_SECONDS)

    assert (outcome.end, outcome.retry_in_seconds) == (End.TIMED_OUT, 12.5)


# -- a blocked event loop --------------------------------------------------------------------------


class Heard:
    """Hears of blocked loops."""

    def __init__(self) -> None:
        self.blocked_by: list[tuple[str, bool]] = []

    def printed(self, kind: str, pid: int, line: str) -> None:
        pass

    def logged(self, line: str) -> None:
        pass

    def blocked(self, kind: str, pid: int, stack: str, *, is_call: bool) -> None:
        self.blocked_by.append((stack, is_call))

    def ended(self, kind: str, pid: int, how: str, calls: int) -> None:
        pass


@pytest.mark.parametrize(
    ("call", "is_call"),
    [
        ((guests.plainly, guests.sleep_long), True),
        ((guests.in_a_subtask, guests.sleep_long), True),
        ((guests.in_a_callback, guests.sleep_long), False),
    ],
)
def test_what_blocks_a_loop_is_told_of_with_its_stack_and_ends_at_its_limit(
    make_executor: Callable[..., Executor], call: tuple[Any, ...], is_call: bool
) -> None:
    heard = Heard()
    settings = HostSettings(blocked_seconds=0.3, silent_seconds=1.0, listener=heard)
    executor = make_executor("async", 4, settings)
    function, *args = call
    outcome = executor.submit(Work(function, tuple(args), timeout_seconds=0.8)).result(
        DEADLINE_SECONDS
    )

    assert outcome.end is End.TIMED_OUT
    assert [told for _, told in heard.blocked_by] == [is_call]
    assert "in sleep_long" in heard.blocked_by[0][0]


def test_the_blocker_ends_with_its_host_at_its_limit_and_the_others_are_released(
    make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor("async", 4, HostSettings(blocked_seconds=0.3))
    neighbours = [
        executor.submit(Work(work.wait_for_async, (str(tmp_path / str(n)),), timeout_seconds=limit))
        for n, limit in enumerate((None, 0.6))
    ]
    wait_until(lambda: is_running(tmp_path / "1"))
    blocker = executor.submit(
        Work(work.block_the_loop, (str(tmp_path / "blocker"),), timeout_seconds=1.0)
    )

    assert blocker.result(DEADLINE_SECONDS).end is End.TIMED_OUT
    assert [one.result(DEADLINE_SECONDS).end for one in neighbours] == [End.RELEASED] * 2


def test_while_a_loop_is_blocked_further_calls_run_elsewhere(
    make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor("async", 4, HostSettings(blocked_seconds=0.2))
    blocker = executor.submit(Work(work.block_the_loop, (str(tmp_path / "gate"),)))
    wait_until(lambda: is_running(tmp_path / "gate"))
    host = executor._crew.host_of(blocker)  # type: ignore[attr-defined] # a host's
    wait_until(lambda: host.is_blocked)

    assert pid(executor)
    assert not blocker.done()
    (tmp_path / "gate").touch()
    assert blocker.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    wait_until(lambda: not host.is_blocked)


def test_the_clocks_of_the_others_stand_while_a_loop_is_blocked(
    make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor("async", 4, HostSettings(blocked_seconds=0.2))
    neighbour = executor.submit(
        Work(work.wait_for_async, (str(tmp_path / "gate"),), timeout_seconds=3.0)
    )
    wait_until(lambda: is_running(tmp_path / "gate"))
    started = time.monotonic()
    blocker = executor.submit(Work(guests.plainly, (guests.sleep_for, 3.5)))
    assert blocker.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    assert time.monotonic() - started > 3.5

    assert not neighbour.done()
    (tmp_path / "gate").touch()
    assert neighbour.result(DEADLINE_SECONDS).end is End.SUCCEEDED
