"""Servers are measured as they are by default, whole, and leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadtests.bench.notification import SUBMIT
from loadtests.bench.stand import Stand
from loadtests.connection import Connection, post, submit
from loadtests.errors import LoadTestError
from loadtests.servers import Service
from tests.integration.conftest import wait_for


def test_the_settings_of_the_shell_do_not_reach_a_server(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERWARDS_MAX_PENDING", "1")
    monkeypatch.setenv("AFTERWARDS_WORKERS", "nonsense")
    with stand.service(notification_delay_seconds=5, grace_seconds=0.1) as service:
        with service.connect() as connection:
            for _ in range(3):
                connection.expect(202, post("/notify/", {"email": "a@example.com", "message": "m"}))
        assert service.counts().unfinished == 3


def runs(pid: int) -> bool:
    """Not if it has ended and only its parent has not noticed yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_memory_is_that_of_master_registry_workers_and_their_children(stand: Stand) -> None:
    with stand.service(report_delay_seconds=0) as service:
        assert service.registry_pid() in service.processes()
        assert len(service.processes()) == 3
        with service.connect() as connection:
            connection.expect(202, post("/report/", {"name": "n", "details": {}}))
        service.wait_finished(1)
        processes = service.processes()
        assert len(processes) > 3, "a report has a process of its own"
        memory = service.memory()
    assert 0 < memory.pss_bytes <= memory.rss_bytes
    wait_for(lambda: not any(map(runs, processes)), "no process left behind")


def test_a_server_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(LoadTestError, match="AFTERWARDS_WORKERS: must be"),
        Service(tmp_path / "service", workers="x"),
    ):
        pass


def test_a_service_that_requires_a_key_is_used_with_it(stand: Stand) -> None:
    service = stand.service()
    service.require_key()
    with service:
        with Connection(service.address) as stranger:
            stranger.expect(401, SUBMIT)
        with service.connect() as connection:
            connection.expect(202, SUBMIT)
        assert service.wait_finished(1).succeeded == 1


def test_the_processor_time_is_that_of_all_processes(stand: Stand) -> None:
    with stand.service() as service:
        before = service.processor_seconds()
        submit(service.address, SUBMIT, 200, connections=4)
        service.wait_finished(200)
        used = service.processor_seconds() - before
        of_the_registry = Path(f"/proc/{service.registry_pid()}/stat").read_text().split()
    assert used >= 0.01
    assert before + used > int(of_the_registry[13]) / os.sysconf("SC_CLK_TCK")


def test_the_bare_application_validates_and_answers_202(stand: Stand) -> None:
    with stand.bare() as bare, bare.connect() as connection:
        connection.expect(202, post("/notify/", {"email": "any text", "message": "m"}))
        connection.expect(422, post("/notify/", {"email": "any text"}))
