"""Somebody moves or deletes the journal's files under the running service."""

from __future__ import annotations

import os
import signal

from afterwards.cli import main
from tests.integration.conftest import wait_for
from tests.reliability.conftest import NewService

FILE = {"content": {"text": "x"}}


def test_a_journal_that_is_moved_or_deleted_under_the_service_costs_no_task(
    new_service: NewService,
) -> None:
    service = new_service(workers="1", grace_seconds="1")
    service.start()
    journal = service.data_dir / "journal.sqlite3"
    done = service.submit("/file/", FILE)
    service.ended(done)
    running = service.add("wait")
    service.begun(running, 1)

    journal.rename(service.data_dir / "elsewhere")

    # Nobody asks for anything: it is noticed all the same.
    notice = "a file of the journal was moved, replaced, removed or cut short"
    wait_for(lambda: notice in service.log_text(), "noticed while idle")
    assert str(journal) in service.log_text()
    assert service.get("/readyz").status_code == 503
    refusal = service.post("/file/", FILE)
    assert refusal.status_code == 503, refusal.text
    assert "was moved, replaced, removed or cut short" in refusal.json()["detail"]
    assert str(service.data_dir) not in refusal.text
    assert service.get(f"/status/{done}").json()["status"] == "success"
    service.open_gate()  # the report waits

    (service.data_dir / "elsewhere").rename(journal)
    wait_for(service.is_ready, "ready by itself")
    assert service.ended(running).attempt == 1

    # Deleted for good: saved at the stop, and nothing begins anew in its place.
    journal.unlink()
    wait_for(lambda: service.get("/readyz").status_code == 503, "noticed")
    assert service.stop() == 0
    [saved] = service.data_dir.glob("journal.sqlite3.rescued-*")
    service.start(ready=False)
    assert service.master is not None
    assert service.master.wait(20) == 1
    assert "it is gone or empty" in service.log_text().splitlines()[-1]
    assert main(["restore", str(saved), "--data-dir", str(service.data_dir)]) == 0
    service.start()
    assert {task.id for task in service.all_ended([done, running])} == {done, running}
    assert service.stop() == 0


def test_a_write_ahead_log_that_is_cut_short_under_the_service_costs_no_task(
    new_service: NewService,
) -> None:
    service = new_service(workers="1", grace_seconds="1")
    service.start()
    done = service.submit("/file/", FILE)
    service.ended(done)
    waiting = service.add("wait")
    service.begun(waiting, 1)

    os.truncate(service.data_dir / "journal.sqlite3-wal", 0)

    wait_for(lambda: service.get("/readyz").status_code == 503, "noticed while idle")
    assert service.post("/file/", FILE).status_code == 503
    service.open_gate()
    os.kill(service.registry_pid(), signal.SIGKILL)
    wait_for(service.is_ready, "ready again")
    assert {task.id for task in service.all_ended([done, waiting])} == {done, waiting}
    service.ended(service.submit("/file/", FILE))
    assert service.stop() == 0
