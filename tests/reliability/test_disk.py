"""Disks that fill up, journals that are damaged, and outputs that cannot be written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from io import RawIOBase
from pathlib import Path

import pytest

from tests.integration.conftest import wait_for
from tests.reliability.conftest import FaultyService, NewService, kill

DISK_BYTES = 4 * 2**20
FILE = {"content": {"text": "x" * 2_000}}

Mount = Callable[..., None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a file system in memory at a directory, or mounts it anew with other options."""
    mounted: list[Path] = []

    def mount(directory: Path, options: str) -> None:
        directory.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
        if directory not in mounted:
            mounted.append(directory)

    yield mount
    for directory in mounted:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Take all the room there is."""
    filler = directory / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                write_on(file, b"x" * size)
    return filler


def write_on(file: RawIOBase, block: bytes) -> None:
    while True:
        file.write(block)


# -- the journal -----------------------------------------------------------------------------------


def test_a_full_disk_refuses_tasks_keeps_the_rest_and_is_left_by_itself(
    new_service: NewService, mount: Mount
) -> None:
    service = new_service()
    mount(service.data_dir, f"size={DISK_BYTES},mode=0700")
    service.start()
    accepted = [service.submit("/file/", FILE) for _ in range(20)]
    running = [service.add(kind) for kind in ("wait", "wait-process")]
    for task_id in running:
        service.begun(task_id, 1)
    filler = fill(service.data_dir)
    answer = service.post("/file/", FILE)
    while answer.status_code == 202:  # what is left of the WAL's last pages
        accepted.append(answer.json()["task_id"])
        answer = service.post("/file/", FILE)

    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert service.get("/readyz").status_code == 503
    assert service.get(f"/status/{accepted[0]}").json()["status"] == "success"
    assert service.get("/metrics").status_code == 200
    service.open_gate()  # their reports have to wait for room
    filler.unlink()
    wait_for(lambda: service.get("/readyz").status_code == 200, "ready by itself")
    accepted.append(service.submit("/file/", FILE))

    for task in service.all_ended(accepted + running):
        assert (task.state, task.attempt) == ("success", 1)
    # Nothing of a refused task is there.
    assert service.metric("afterwards_tasks_submitted_total") == len(accepted + running)
    assert len(list(service.output_dir.iterdir())) == len(accepted)
    assert service.stop() == 0
    assert quick_check(service.data_dir / "journal.sqlite3") == "ok"


def quick_check(path: Path) -> str:
    db = sqlite3.connect(path)
    try:
        verdict: str = db.execute("PRAGMA quick_check").fetchone()[0]
        return verdict
    finally:
        db.close()


@pytest.mark.parametrize("death", ["stopped", "killed"])
def test_a_damaged_journal_is_refused_at_the_start_and_left_as_it_is(
    new_service: NewService, death: str
) -> None:
    service = new_service()
    service.start()
    for _ in range(50):
        service.submit("/file/", FILE)
    journal = service.data_dir / "journal.sqlite3"
    # A stop moves everything into the file; a crash leaves the latest transactions in the WAL.
    if death == "stopped":
        assert service.stop() == 0
    else:
        move_wal_into_file(journal)
        service.submit("/file/", FILE)
        service.kill_everything()
    with journal.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(os.urandom(10 * 4096))
    before = fingerprints(service.data_dir)

    service.start(ready=False)
    assert service.master is not None
    assert service.master.wait(20) == 1
    last_line = service.log_text().splitlines()[-1]
    assert last_line.startswith(f"afterwards: The journal {journal} cannot be used: it is damaged")
    assert fingerprints(service.data_dir) == before
    wait_for(lambda: not service.processes(), "no process left behind")


def move_wal_into_file(journal: Path) -> None:
    db = sqlite3.connect(journal)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    db.close()


def fingerprints(data_dir: Path) -> dict[str, str]:
    """The fingerprints of the journal's files that hold data."""
    files = [
        path
        for path in data_dir.glob("journal*")
        if not path.name.endswith("-shm") and path.stat().st_size
    ]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_whole_file_is_checked_at_a_start_and_not_when_only_the_registry_died(
    new_service: NewService,
) -> None:
    service = new_service()
    service.start()
    assert checks(service.registry_pid())
    dead = service.registry_pid()
    kill(dead, signal.SIGKILL)
    wait_for(lambda: service.registry_pid() != dead and service.is_ready(), "a new registry")
    assert not checks(service.registry_pid())
    assert service.stop() == 0


def checks(registry_pid: int) -> bool:
    words = Path(f"/proc/{registry_pid}/cmdline").read_text().split("\0")
    check: bool = json.loads(words[words.index("afterwards.registry.process") + 1])["check"]
    return check


# -- the outputs -----------------------------------------------------------------------------------


def test_a_file_task_that_cannot_write_fails_naming_the_file_and_can_be_retried(
    new_service: NewService, mount: Mount
) -> None:
    service = new_service()
    mount(service.output_dir, "size=1m")
    service.start()
    mount(service.output_dir, "remount,ro")
    task = service.ended(service.submit("/file/", FILE))
    path = service.output_dir / f"{task.id}.json"
    assert (task.state, task.attempt) == ("failed", 1)
    assert task.error == f"Cannot write {path.name}: Read-only file system"
    assert str(path) in service.log_file.read_text()

    mount(service.output_dir, "remount,rw")
    assert service.post(f"/retry-task/{task.id}").status_code == 200
    assert service.ended(task.id).state == "success"
    assert json.loads(path.read_text()) == FILE["content"]
    assert service.stop() == 0


def test_a_full_output_disk_leaves_no_half_file_and_is_tried_again(
    new_service: NewService, mount: Mount
) -> None:
    service = new_service()
    mount(service.output_dir, "size=64k")
    service.start()
    filler = fill(service.output_dir)
    task_id = service.submit("/file/", FILE)
    wait_for(lambda: service.task(task_id).attempts_used == 1, "the first attempt failed")
    path = service.output_dir / f"{task_id}.json"
    error = service.task(task_id).error
    assert error == f"Cannot write {path.name}: No space left on device"
    assert list(service.output_dir.iterdir()) == [filler]

    filler.unlink()
    assert service.ended(task_id).state == "success"
    assert list(service.output_dir.iterdir()) == [path]
    assert service.stop() == 0


def test_outputs_that_are_no_directory_any_more_fail_the_task(service: FaultyService) -> None:
    shutil.rmtree(service.output_dir)
    service.output_dir.touch()
    task_id = service.submit("/file/", FILE)
    task = service.ended(task_id)
    assert task.state == "failed"
    assert task.error == f"Cannot write {task_id}.json: File exists"
