"""A disk that says EIO to a sync: nobody knows then what is written, and everybody is told so."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import wait_for
from tests.reliability.conftest import NewService

SOURCE = Path(__file__).with_name("failing_sync.c")
FILE = {"content": {"text": "once"}}
KEY = {"Idempotency-Key": "order-4711"}


@pytest.fixture(scope="module")
def failing_sync(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes syncs fail."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc)")
    library = tmp_path_factory.mktemp("library") / "failing_sync.so"
    options = ["-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run([compiler, *options], check=True)
    return library


def test_a_task_whose_sync_failed_is_said_to_be_unknown_and_its_repeat_is_one_task(
    new_service: NewService, failing_sync: Path, tmp_path: Path
) -> None:
    service = new_service(workers="1")
    broken = tmp_path / "broken"
    service.set_plain(LD_PRELOAD=str(failing_sync), SYNC_FAILS=str(broken))
    service.start()
    first = service.submit("/file/", FILE)
    service.ended(first)
    registry = service.registry_pid()
    broken.write_text("journal.sqlite3-wal")

    answer = service.post("/file/", FILE, KEY)

    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    detail = answer.json()["detail"]
    assert "is not known" in detail
    assert "Idempotency-Key" in detail
    assert str(service.data_dir) not in answer.text
    assert service.get("/readyz").status_code == 503
    assert "SQLITE_IOERR_FSYNC" in service.log_text()

    broken.unlink()
    wait_for(service.is_ready, "ready by itself")
    assert service.registry_pid() != registry
    repeat = service.post("/file/", FILE, KEY)
    assert repeat.status_code == 202, repeat.text
    service.ended(repeat.json()["task_id"])
    listed = service.get("/tasks").json()["tasks"]
    assert {task["id"] for task in listed} == {first, repeat.json()["task_id"]}
    assert len(list(service.output_dir.iterdir())) == 2
    assert service.metric("afterwards_tasks_submitted_total") == 2
    assert service.stop() == 0
