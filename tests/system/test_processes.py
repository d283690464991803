"""Facts about a process, as the machine tells them."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from afterwards.system.processes import memory_bytes, started_at

pytestmark = pytest.mark.processes


def test_a_process_has_memory_and_a_start() -> None:
    before = time.time()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = started_at(process.pid)
        assert found is not None
        assert before - 0.1 <= found <= time.time() + 0.1
        process.communicate(b"\n")
    own = memory_bytes(os.getpid())
    assert own is not None
    assert 2**20 < own < 2**36


def test_of_a_process_that_is_gone_nothing_is_known() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert memory_bytes(process.pid) is None
    assert started_at(process.pid) is None
