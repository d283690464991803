"""A shortage costs its moment: no slot is lost, and no refused call runs."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from afterwards_executors import EXECUTORS, aio, progress
from afterwards_executors.base import End, Executor, Outcome, Work
from afterwards_executors.cluster.executor import KIND
from afterwards_executors.progress import ProgressSender
from tests.executors.conftest import (
    DEADLINE_SECONDS,
    FACTORIES,
    children,
    count_of_descriptors,
    is_running,
    wait_until,
)

Call = Callable[..., Work]

ACQUISITIONS: Final[tuple[tuple[Any, str, Exception], ...]] = (
    (os, "pipe", OSError(errno.EMFILE, "Too many open files")),
    (os, "pidfd_open", OSError(errno.ENFILE, "Too many open files in system")),
    (socket, "socketpair", OSError(errno.EMFILE, "Too many open files")),
    (subprocess, "_fork_exec", BlockingIOError(errno.EAGAIN, "No more processes")),
    (threading, "_start_new_thread", RuntimeError("can't start new thread")),
    (asyncio.BaseEventLoop, "call_soon_threadsafe", MemoryError()),
    (asyncio.BaseEventLoop, "create_task", MemoryError()),
    (asyncio.BaseEventLoop, "call_later", MemoryError()),
    (selectors.EpollSelector, "register", OSError(errno.ENOSPC, "No space left on device")),
)
"""The calls that ask for something that can run out, and how each is refused."""

NEEDED: Final = {
    "async in process": {"call_soon_threadsafe", "create_task", "call_later"},
    "thread in process": {"_start_new_thread"},
    **dict.fromkeys(
        EXECUTORS,
        {"call_soon_threadsafe", "call_later", "_start_new_thread", "socketpair", "pipe"}
        | {"_fork_exec", "pidfd_open", "register"},
    ),
    # Its only host is there before.
    KIND: {"call_soon_threadsafe", "call_later"},
}
"""The resources that each kind asks for on the way to its first call."""


class Shortage:
    """Refuses one acquisition, counted from its beginning."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.refused: str | None = None

    @contextmanager
    def lasts(self, *, spares: str = "") -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for owner, name, error in ACQUISITIONS:
                if name == spares:
                    continue
                patch.setattr(owner, name, self._rationed(name, getattr(owner, name), error))
            yield

    def _rationed(self, name: str, real: Any, error: Exception) -> Any:
        def acquire(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == -1:
                self.refused = name
                raise error
            return real(*arguments, **options)

        return acquire


def outcome_of(future: Future[Outcome]) -> Outcome:
    return future.result(DEADLINE_SECONDS)


@pytest.fixture(autouse=True)
def loop_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop's methods cannot be replaced."""
    monkeypatch.setattr(aio, "_new_event_loop", asyncio.new_event_loop)


def uses_all_slots(executor: Executor, call: Call, directory: Path) -> None:
    gates = [directory / f"gate-{number}" for number in range(executor.slots().total)]
    futures = [executor.submit(call("wait_for", str(gate))) for gate in gates]
    wait_until(lambda: all(is_running(gate) for gate in gates))
    for gate in gates:
        gate.touch()
    assert [outcome_of(future).end for future in futures] == [End.SUCCEEDED] * len(gates)


def test_whatever_runs_out_before_a_call_begins_costs_no_slot_and_the_call_never_runs(
    kind: str, make_executor: Callable[..., Executor], call: Call, tmp_path: Path
) -> None:
    refused, before = [], children()
    for step in count():
        directory = tmp_path / str(step)
        directory.mkdir()
        open_gate = directory / "open"
        open_gate.touch()
        descriptors = count_of_descriptors()
        executor = make_executor(kind)
        shortage = Shortage(step)
        with shortage.lasts():
            future = executor.submit(call("wait_for", str(open_gate), timeout_seconds=3600.0))
            outcome = outcome_of(future)
        if shortage.refused is None:
            break
        refused.append(shortage.refused)

        if outcome.end is End.SUCCEEDED:
            # What could not be had was for later, or was asked for again.
            assert shortage.refused in {"call_later", "call_soon_threadsafe"}
            assert kind in {*EXECUTORS, KIND}
        else:
            assert outcome.end is End.STARVED, (shortage.refused, outcome)
            assert outcome.transient
            assert not is_running(open_gate), shortage.refused
        wait_until(lambda: executor.slots().free == 2)  # noqa: B023 - called here only
        uses_all_slots(executor, call, directory)
        executor.shutdown(5.0)
        assert children() <= before, shortage.refused
        assert count_of_descriptors() == descriptors, shortage.refused

    assert set(refused) == NEEDED[kind]


def test_a_call_in_the_queue_is_not_lost_with_the_one_before_it(
    kind: str, make_executor: Callable[..., Executor], call: Call, gate: Path
) -> None:
    executor = make_executor(kind, slots=1)
    first = executor.submit(call("wait_for", str(gate)))
    wait_until(lambda: is_running(gate))
    queued = [executor.submit(call("succeed")) for _ in range(3)]
    shortage = Shortage(0)
    # A coroutine that waits for the gate sets timers: what they lack would be its own failure.
    with shortage.lasts(spares="call_later"):
        gate.touch()
        ends = [outcome_of(future).end for future in queued]

    assert outcome_of(first).end is End.SUCCEEDED
    # Threads and children are there already; a coroutine needs its task.
    assert ends == [End.STARVED if shortage.refused else End.SUCCEEDED, *[End.SUCCEEDED] * 2]
    assert executor.slots().free == 1


def test_a_start_that_fails_may_be_tried_again(kind: str, call: Call) -> None:
    for step in count():
        shortage = Shortage(step)
        executor = FACTORIES[kind](1)
        with shortage.lasts():
            try:
                executor.start()
            except (RuntimeError, OSError, MemoryError):
                assert shortage.refused
        if shortage.refused is None:
            executor.shutdown(5.0)
            break
        executor.start()
        assert outcome_of(executor.submit(call("succeed"))).end is End.SUCCEEDED
        executor.shutdown(5.0)


def test_a_note_that_no_thread_can_be_had_for_is_dropped_and_the_next_one_goes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "_reminder", progress._Reminder())
    delivered: list[bytes] = []

    def deliver(data: bytes) -> bool:
        delivered.append(data)
        return True

    sender = ProgressSender(deliver)
    sender.send(b"at once")
    shortage = Shortage(0)
    with shortage.lasts():
        # The call that sends it knows nothing of the shortage.
        sender.send(b"delayed, without a thread")
    assert shortage.refused == "_start_new_thread"
    assert "can't start new thread" in caplog.text

    sender.send(b"delayed")
    wait_until(lambda: delivered[-1] == b"delayed")
    assert delivered == [b"at once", b"delayed"]


SCRIPT: Final = """
import json, os, resource, sys, time
from afterwards_executors import EXECUTORS, IN_PROCESS
from afterwards_executors.base import Work
from tests.executors import work

def ends(futures):
    return [future.result(20).end for future in futures]

def functions(kind):
    return work.succeed_async if kind.startswith("async") else work.succeed

def run():
    return {
        kind: ends([executor.submit(Work(functions(kind))) for _ in range(6)])
        for kind, executor in executors.items()
    }

what, kinds = getattr(resource, sys.argv[1]), sys.argv[2:]
FACTORIES = {**EXECUTORS, **{kind + " in process": make for kind, make in IN_PROCESS.items()}}
executors = {kind: FACTORIES[kind](2) for kind in kinds}
for executor in executors.values():
    executor.start()
if what == resource.RLIMIT_NPROC and os.getuid() == 0:
    os.setuid(54321)  # root is not bound by it
before = resource.getrlimit(what)
used = 1 if what == resource.RLIMIT_NPROC else len(os.listdir("/proc/self/fd")) - 1
resource.setrlimit(what, (used, before[1]))
hungry = run()
resource.setrlimit(what, before)
slots = {kind: executor.slots().free for kind, executor in executors.items()}
fed = run()
for executor in executors.values():
    executor.shutdown(5)
print(json.dumps([hungry, slots, fed]))
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("limit", "kinds", "starving"),
    [
        (
            "RLIMIT_NOFILE",
            ["async in process", "thread in process", "async", "thread", "process"],
            {"async", "thread", "process"},
        ),
        # Without hosts: whoever is no longer root may not be able to read Python's files.
        ("RLIMIT_NPROC", ["async in process", "thread in process"], {"thread in process"}),
    ],
)
def test_a_limit_of_the_kernel_that_is_reached_and_raised_costs_no_slot(
    limit: str, kinds: list[str], starving: set[str]
) -> None:
    printed = subprocess.run(
        [sys.executable, "-c", SCRIPT, limit, *kinds],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert printed.returncode == 0, printed.stderr
    hungry, free, fed = json.loads(printed.stdout)

    for kind in kinds:
        assert set(hungry[kind]) == {"starved" if kind in starving else "succeeded"}
        assert free[kind] == 2
        assert set(fed[kind]) == {"succeeded"}
