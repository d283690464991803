from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import pytest

from afterwards_executors import aio
from afterwards_executors.base import End, Executor, Outcome, Slots, Work
from tests.executors import work
from tests.executors.conftest import DEADLINE_SECONDS, is_running, wait_until


@pytest.fixture
def executor(make_executor: Callable[..., Executor]) -> Executor:
    return make_executor("async in process", slots=5000)


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "STOP_GRACE_SECONDS", 0.05)


def test_thousands_wait_at_a_time(executor: Executor, gate: Path) -> None:
    futures = [executor.submit(Work(work.wait_for_async, (str(gate),))) for _ in range(500)]
    assert executor.slots() == Slots(total=5000, busy=500, stuck=0)
    gate.touch()

    assert not wait(futures, DEADLINE_SECONDS).not_done


@pytest.mark.usefixtures("short_grace")
def test_a_coroutine_that_swallows_its_cancellation_is_timed_out_and_stuck(
    executor: Executor, gate: Path
) -> None:
    future = executor.submit(Work(work.swallow_cancellation, (str(gate),), timeout_seconds=0.05))

    assert future.result(DEADLINE_SECONDS).end is End.TIMED_OUT
    assert executor.slots() == Slots(total=5000, busy=0, stuck=1)
    gate.touch()
    wait_until(lambda: executor.slots() == Slots(total=5000, busy=0, stuck=0))
    assert future.result().end is End.TIMED_OUT


@pytest.mark.usefixtures("short_grace")
def test_a_coroutine_that_swallows_its_cancellation_is_cancelled_and_stuck(
    executor: Executor, gate: Path
) -> None:
    future = executor.submit(Work(work.swallow_cancellation, (str(gate),)))
    wait_until(lambda: is_running(gate))

    assert executor.cancel(future, "not wanted")
    assert not executor.cancel(future, "again")
    outcome = future.result(DEADLINE_SECONDS)
    assert (outcome.end, outcome.error) == (End.CANCELLED, "not wanted")
    assert executor.slots().stuck == 1


@pytest.mark.usefixtures("short_grace")
def test_a_stuck_coroutine_keeps_its_slot_from_those_that_wait(
    make_executor: Callable[..., Executor], gate: Path
) -> None:
    executor = make_executor("async in process", slots=1)
    stuck = executor.submit(Work(work.swallow_cancellation, (str(gate),), timeout_seconds=0.05))
    queued = executor.submit(Work(work.succeed_async))
    stuck.result(DEADLINE_SECONDS)

    assert not queued.done()
    gate.touch()
    assert queued.result(DEADLINE_SECONDS).end is End.SUCCEEDED


@pytest.mark.usefixtures("short_grace")
def test_a_shutdown_does_not_wait_for_a_stuck_coroutine(executor: Executor, gate: Path) -> None:
    future = executor.submit(Work(work.swallow_cancellation, (str(gate),)))
    wait_until(lambda: is_running(gate))
    executor.shutdown(0.2)

    assert future.result(0).end is End.CANCELLED


def test_a_shutdown_resolves_futures_though_a_call_blocks_the_loop(
    executor: Executor, gate: Path
) -> None:
    blocking = executor.submit(Work(work.block_the_loop, (str(gate),)))
    wait_until(lambda: is_running(gate))
    behind = executor.submit(Work(work.succeed_async))
    executor.shutdown(0.1)

    assert {blocking.result(0).end, behind.result(0).end} == {End.CANCELLED}


def test_a_cancelled_coroutine_may_clean_up_before_its_end_is_reported(
    executor: Executor, gate: Path
) -> None:
    future = executor.submit(Work(work.clean_up_slowly, (str(gate),)))
    wait_until(lambda: is_running(gate))
    executor.cancel(future, "not wanted")

    assert future.result(DEADLINE_SECONDS).end is End.CANCELLED
    assert gate.with_name("gate.cleaned").exists()
    assert executor.slots().stuck == 0


def test_a_coroutine_that_cancels_itself_has_failed(executor: Executor) -> None:
    outcome = executor.submit(Work(work.cancel_itself)).result(DEADLINE_SECONDS)

    assert (outcome.end, outcome.error) == (End.FAILED, "CancelledError")


def test_a_plain_function_is_refused(executor: Executor) -> None:
    outcome = executor.submit(Work(work.succeed)).result(DEADLINE_SECONDS)

    assert outcome.end is End.FAILED
    assert "await" in (outcome.error or "")


def test_tasks_that_calls_leave_behind_end_with_the_loop(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    executor.submit(Work(work.leave_a_stray)).result(DEADLINE_SECONDS)
    executor.shutdown(5.0)

    wait_until(lambda: all(task.cancelled() for task in work._strays))
    assert not caplog.records


@pytest.mark.processes
def test_it_works_without_uvloop(gate: Path) -> None:
    script = (
        "import sys; sys.modules['uvloop'] = None\n"
        "from afterwards_executors import IN_PROCESS; from afterwards_executors.base import Work\n"
        "from tests.executors import work\n"
        "executor = IN_PROCESS['async'](2); executor.start()\n"
        "print(executor.submit(Work(work.succeed_async)).result(10).end)\n"
        "print(type(executor._loop).__module__)\n"
        "executor.shutdown(5)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    ).stdout.split()

    assert printed == ["succeeded", "asyncio.unix_events"]


def test_submissions_wake_the_loop_once_for_many(gate: Path) -> None:
    executor = aio.AsyncExecutor(10)
    wakes = []
    call_soon = executor._loop.call_soon_threadsafe

    def count(*args: object, **options: object) -> object:
        wakes.append(threading.current_thread())
        return call_soon(*args, **options)  # type: ignore[arg-type] # as it was called

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "_loop", _Spy(executor._loop, count))
        futures = [executor.submit(Work(work.succeed_async)) for _ in range(50)]
    executor.start()

    assert not wait(futures, DEADLINE_SECONDS).not_done
    assert len(wakes) == 1
    executor.shutdown(5.0)


def test_it_works_on_the_loop_that_starts_it_and_leaves_that_running() -> None:
    async def where() -> Outcome:
        found.append(asyncio.get_running_loop())
        return Outcome(End.SUCCEEDED)

    async def wait_for_ever() -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    async def story() -> None:
        executor = aio.AsyncExecutor(10)
        before = executor.submit(Work(where))
        executor.start()
        for future in (before, executor.submit(Work(where))):
            assert (await asyncio.wrap_future(future)).end is End.SUCCEEDED
        assert found == [asyncio.get_running_loop()] * 2
        threads = [thread.name for thread in threading.enumerate()]
        assert "executor-async" not in threads

        running = executor.submit(Work(wait_for_ever))
        await asyncio.sleep(0)
        for _ in range(2):
            await asyncio.to_thread(executor.shutdown, 5.0)
        assert running.result(0).end is End.CANCELLED
        await asyncio.sleep(0)

    found: list[asyncio.AbstractEventLoop] = []
    asyncio.run(story())


class _Spy:
    def __init__(self, loop: object, call_soon_threadsafe: object) -> None:
        self._loop = loop
        self.call_soon_threadsafe = call_soon_threadsafe

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)
