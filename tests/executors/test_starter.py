"""Hosts are started in a thread, and no started one is forgotten."""

from __future__ import annotations

import os
import queue

import pytest

from afterwards_executors.frames import Setup
from afterwards_executors.hosts.process import HostProcess
from afterwards_executors.hosts.starter import Starter
from tests.executors.conftest import DEADLINE_SECONDS

pytestmark = pytest.mark.processes

SETUP = Setup(
    parent=os.getpid(),
    kind="async",
    sys_path=[],
    max_frame_bytes=1024,
    blocked_seconds=5.0,
    is_terminal=False,
    prepare=None,
)


def started(starter: Starter) -> HostProcess:
    told: queue.SimpleQueue[HostProcess | Exception] = queue.SimpleQueue()
    starter.start(SETUP, dict(os.environ), told.put)
    process = told.get(timeout=DEADLINE_SECONDS)
    assert isinstance(process, HostProcess)
    return process


def is_reaped(process: HostProcess) -> bool:
    try:
        os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_a_host_that_a_loop_did_not_live_to_take_is_ended_and_reaped() -> None:
    starter = Starter("starter")
    process = started(starter)

    starter.close(DEADLINE_SECONDS)

    assert is_reaped(process)
    assert process.wire.fileno() == -1
    assert not starter.take(process), "too late"


def test_a_host_that_was_taken_is_its_taker_s_to_end() -> None:
    starter = Starter("starter")
    process = started(starter)
    assert starter.take(process)

    starter.close(DEADLINE_SECONDS)

    assert not is_reaped(process)
    process.reap()
