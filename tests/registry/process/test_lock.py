"""One registry for a data directory."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from afterwards.errors import RegistryLocked
from afterwards.registry.process.lock import (
    TAKEOVER_AFTER_SECONDS,
    DataDirLock,
    Endpoint,
    holder_of,
    lock_path,
    unserved,
)
from afterwards.registry.protocol.incarnation import birth
from tests.registry.peers import eventually

pytestmark = pytest.mark.processes

ENDPOINT = Endpoint("new", "/nowhere/new")
NOBODY = 2**22 + 1
"""More than any pid (proc(5), pid_max)."""

HOLD = """
import sys, pathlib, time
from afterwards.registry.process.lock import DataDirLock, Endpoint
lock = DataDirLock(pathlib.Path(sys.argv[1]))
lock.acquire(Endpoint("old", "/nowhere/old"), int(sys.argv[2]), take_over=False)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock."""
    yield from hold(tmp_path, master=NOBODY)


@pytest.fixture
def holder_in_use(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The same, and its master, this process, lives."""
    yield from hold(tmp_path, master=os.getpid())


def hold(data_dir: Path, master: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(data_dir), str(master)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def acquire(data_dir: Path, *, take_over: bool) -> None:
    lock = DataDirLock(data_dir)
    try:
        lock.acquire(ENDPOINT, os.getpid(), take_over=take_over)
    finally:
        lock.close()


def test_a_lock_says_who_holds_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    found = holder_of(tmp_path)

    assert found is not None
    assert (found.pid, found.endpoint) == (holder.pid, Endpoint("old", "/nowhere/old"))
    assert found.born == birth(holder.pid)


def test_a_holder_of_another_boot_is_dead(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    record = json.loads(lock_path(tmp_path).read_text())

    lock_path(tmp_path).write_text(json.dumps(record | {"boot": "another"}))

    assert holder_of(tmp_path) is None


def test_a_holder_that_an_earlier_version_wrote_is_known_by_its_birth(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    record = json.loads(lock_path(tmp_path).read_text())
    del record["boot"]

    lock_path(tmp_path).write_text(json.dumps(record))

    found = holder_of(tmp_path)
    assert found is not None
    assert found.pid == holder.pid


def test_a_lock_that_is_held_is_refused_at_once(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(RegistryLocked) as caught:
        acquire(tmp_path, take_over=False)

    assert caught.value.pid == holder.pid
    assert holder.poll() is None


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_lock_holds_without_its_file(
    tmp_path: Path, holder: subprocess.Popen[str], how: str
) -> None:
    lock_path(tmp_path).unlink()
    if how == "replaced":
        lock_path(tmp_path).touch()

    with pytest.raises(RegistryLocked, match="its process is not known"):
        acquire(tmp_path, take_over=False)
    with pytest.raises(RegistryLocked), unserved(tmp_path):
        pass

    holder.kill()
    holder.wait()
    acquire(tmp_path, take_over=False)
    assert holder_of(tmp_path) is not None


def test_the_lock_of_an_earlier_version_is_respected(tmp_path: Path) -> None:
    with lock_path(tmp_path).open("w") as earlier:
        lock_path(tmp_path).chmod(0o600)
        fcntl.flock(earlier, fcntl.LOCK_EX)
        with pytest.raises(RegistryLocked):
            acquire(tmp_path, take_over=False)


def test_a_lock_is_taken_over_after_two_seconds_by_ending_its_holder(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    began = time.monotonic()

    acquire(tmp_path, take_over=True)

    assert time.monotonic() - began >= TAKEOVER_AFTER_SECONDS
    assert holder.wait() == -9
    found = holder_of(tmp_path)
    assert found is not None
    assert (found.pid, found.endpoint) == (os.getpid(), ENDPOINT)


def test_the_lock_of_a_living_service_is_not_taken_over(
    tmp_path: Path, holder_in_use: subprocess.Popen[str]
) -> None:
    with pytest.raises(RegistryLocked, match=f"process {os.getpid()}"):
        acquire(tmp_path, take_over=True)

    assert holder_in_use.poll() is None


def test_a_holder_that_ends_in_time_is_not_killed(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.terminate()

    acquire(tmp_path, take_over=True)

    assert holder.wait() == -15


def test_a_dead_process_holds_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()

    eventually(lambda: holder_of(tmp_path) is None, "nobody holds the lock")
    acquire(tmp_path, take_over=False)


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", "{}", '{"pid": 1, "born": 2, "endpoint": {"x": 1}}']
)
def test_a_file_that_says_nothing_names_no_holder(tmp_path: Path, text: str) -> None:
    lock_path(tmp_path).write_text(text)

    assert holder_of(tmp_path) is None
    acquire(tmp_path, take_over=False)


def test_a_lock_is_for_its_owner_s_eyes(tmp_path: Path) -> None:
    acquire(tmp_path, take_over=False)

    assert lock_path(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_lock_with_a_second_name_is_not_taken(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    lock_path(tmp_path).hardlink_to(victim)

    with pytest.raises(PermissionError, match="it has a second name"):
        acquire(tmp_path, take_over=False)

    assert victim.read_bytes() == b""


def test_a_holder_that_cannot_be_seen_is_waited_for_and_spoken_of(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In another container its pid is nobody's, or somebody else's.
    monkeypatch.setattr("afterwards.registry.process.lock.TAKEOVER_AFTER_SECONDS", 0.1)
    record = json.loads(lock_path(tmp_path).read_text())
    lock_path(tmp_path).write_text(json.dumps(record | {"pid": NOBODY}))
    with capture_logs() as lines, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(acquire, tmp_path, take_over=True)
        eventually(lambda: lines, "a line in the log")
        assert "cannot be seen from here" in lines[0]["event"]
        assert not waiting.done()
        holder.kill()
        waiting.result(10)
    assert len(lines) == 1
