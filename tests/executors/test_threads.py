from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from afterwards_executors.base import End, Executor, Slots, Work
from tests.executors import work
from tests.executors.conftest import DEADLINE_SECONDS, is_running, wait_until


@pytest.fixture
def executor(make_executor: Callable[..., Executor]) -> Executor:
    return make_executor("thread in process", slots=2)


def test_a_timed_out_call_is_stuck_until_its_function_returns(
    executor: Executor, gate: Path
) -> None:
    future = executor.submit(Work(work.wait_for, (str(gate),), timeout_seconds=0.05))

    assert future.result(DEADLINE_SECONDS).end is End.TIMED_OUT
    assert executor.slots() == Slots(total=2, busy=0, stuck=1)
    gate.touch()
    wait_until(lambda: executor.slots() == Slots(total=2, busy=0, stuck=0))
    assert future.result().end is End.TIMED_OUT


def test_stuck_threads_keep_their_slots_from_those_that_wait(
    executor: Executor, gate: Path
) -> None:
    stuck = [
        executor.submit(Work(work.wait_for, (str(gate),), timeout_seconds=0.05)) for _ in range(2)
    ]
    queued = executor.submit(Work(work.succeed))
    for future in stuck:
        future.result(DEADLINE_SECONDS)

    assert not queued.done()
    gate.touch()
    assert queued.result(DEADLINE_SECONDS).end is End.SUCCEEDED


def test_an_earlier_deadline_is_not_kept_waiting_by_a_later_one(
    executor: Executor, gate: Path
) -> None:
    late = executor.submit(Work(work.wait_for, (str(gate),), timeout_seconds=3600))
    wait_until(lambda: is_running(gate))
    soon = executor.submit(Work(work.wait_for, (str(gate),), timeout_seconds=0.05))

    assert soon.result(DEADLINE_SECONDS).end is End.TIMED_OUT
    assert not late.done()


def test_threads_are_started_when_they_are_needed_and_reused(executor: Executor) -> None:
    names = set()
    for _ in range(10):
        names.add(executor.submit(Work(work.thread_name)).result(DEADLINE_SECONDS).value)

    assert len(names) <= 2


def test_a_shutdown_waits_for_what_can_still_end(executor: Executor, gate: Path) -> None:
    future = executor.submit(Work(work.wait_for, (str(gate),)))
    queued = [executor.submit(Work(work.wait_for, (str(gate),))) for _ in range(2)]
    wait_until(lambda: is_running(gate))
    opener = threading.Timer(0.05, gate.touch)
    opener.start()
    executor.shutdown(DEADLINE_SECONDS)
    opener.join()

    # It has done its work; said to be cancelled, it would be done again.
    assert future.result(0).end is End.SUCCEEDED
    assert queued[1].result(0).end is End.CANCELLED


@pytest.mark.processes
def test_a_stuck_thread_does_not_keep_the_process_from_ending() -> None:
    script = (
        "from afterwards_executors import IN_PROCESS; from afterwards_executors.base import Work\n"
        "from tests.executors import work\n"
        "executor = IN_PROCESS['thread'](2); executor.start()\n"
        "stuck = Work(work.wait_for, ('/nowhere/gate',), timeout_seconds=0.05)\n"
        "work.Path.touch = lambda *_: None\n"
        "print(executor.submit(stuck).result(10).end)\n"
        "executor.shutdown(0.1)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )

    assert printed.stdout.split() == ["timed_out"]
    assert not printed.stderr
