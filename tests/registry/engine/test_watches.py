"""The death of a worker is noticed, even if it could not be watched for a while."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from afterwards.lifecycle import TaskState
from afterwards.registry.engine.watches import Killer, Watches
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.incarnation import end, is_alive, this_process, when_gone
from tests.registry.bench import Bench
from tests.registry.peers import Processes, eventually, get

NO_THREAD = RuntimeError("can't start new thread")
NO_DESCRIPTOR = OSError(errno.EMFILE, "Too many open files")


class Kernel:
    """Refuses watches while it is short of something."""

    def __init__(self) -> None:
        self.short: Exception | None = None
        self.callbacks: list[Callable[[], None]] = []

    def when_gone(self, _: Worker, callback: Callable[[], None]) -> None:
        if self.short is not None:
            raise self.short
        self.callbacks.append(callback)


@pytest.mark.parametrize("short", [NO_THREAD, NO_DESCRIPTOR, MemoryError()])
def test_a_watch_that_cannot_be_had_is_asked_for_until_it_can(short: Exception) -> None:
    kernel, worker = Kernel(), this_process("test")
    buried: list[Worker] = []
    watches = Watches(kernel.when_gone, buried.append)
    kernel.short = short
    with capture_logs() as lines:
        watches.watch(worker)
        watches.watch(worker)
        watches.try_again()
        kernel.short = None
        watches.try_again()
        watches.try_again()
        watches.watch(worker)

    assert len(lines) == 1
    [callback] = kernel.callbacks
    callback()
    assert buried == [worker]


def test_a_worker_that_died_unwatched_is_missed_at_the_next_beat_of_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = bench.registry()
    refusals: list[Exception] = [NO_THREAD]
    real = bench.machine.when_gone

    def refuse_once(worker: Worker, callback: Callable[[], None]) -> None:
        if refusals:
            raise refusals.pop()
        real(worker, callback)

    monkeypatch.setattr(registry._watches, "_when_gone", refuse_once)
    dead, other = bench.peer(registry, {"async": 1}), bench.peer(registry, {"async": 0})
    claim = dead.run(bench.task())
    assert not refusals

    bench.machine.kill(dead.worker)
    other.beat()
    registry.tick()

    assert get(registry, claim.task_id).state is TaskState.PENDING
    assert get(registry, claim.task_id).lost_attempts == 1


@pytest.mark.parametrize(
    ("owner", "name", "refusal"),
    [
        (os, "pidfd_open", NO_DESCRIPTOR),
        (threading, "_start_new_thread", NO_THREAD),
        (Path, "read_text", NO_DESCRIPTOR),
    ],
)
def test_a_process_that_cannot_be_watched_just_now_leaves_no_descriptor(
    owner: Any, name: str, refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise refusal

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    worker, called = this_process("test"), threading.Event()
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, refuse)
        with pytest.raises(type(refusal)):
            when_gone(worker, called.set)

    assert descriptors() == before
    assert not called.is_set()


def test_a_process_that_cannot_be_ended_just_now_is_not_taken_for_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: int) -> int:
        raise NO_DESCRIPTOR

    worker = this_process("test")._replace(boot="another")
    end(worker)  # not this very process
    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        end(worker)


class Stubborn:
    """A process that ends when it may, and what was tried."""

    def __init__(self) -> None:
        self.short: Exception | None = None
        self.alive = True
        self.signals = 0

    def end(self, _: Worker) -> None:
        if self.short is not None:
            raise self.short
        self.signals += 1

    def is_alive(self, _: Worker) -> bool:
        return self.alive


@pytest.mark.parametrize("short", [NO_DESCRIPTOR, MemoryError()])
def test_a_silent_worker_is_ended_as_soon_as_that_is_possible_and_buried_when_it_is_gone(
    short: Exception,
) -> None:
    process, worker = Stubborn(), this_process("test")
    buried: list[Worker] = []
    killer = Killer(process.end, process.is_alive, buried.append)
    process.short = short
    with capture_logs() as lines:
        killer.end({worker})
        killer.end({worker})
        assert process.signals == 0
        process.short = None
        killer.end({worker})
        killer.end({worker})
        assert (process.signals, buried) == (2, [])
        process.alive = False
        killer.end({worker})

    assert buried == [worker]
    assert [line["event"] for line in lines] == [
        "worker is silent; ending its process",
        "silent workers cannot be ended; trying again",
    ]


def test_only_the_very_process_is_ended(processes: Processes) -> None:
    worker = processes.start()
    assert worker.boot == ""

    for other in (worker._replace(born=worker.born + 1), worker._replace(boot="another")):
        Killer(end, is_alive, lambda _: None).end([other])
    assert is_alive(worker)
    Killer(end, is_alive, lambda _: None).end([worker])

    eventually(lambda: not is_alive(worker), "it ends")
