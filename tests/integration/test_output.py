"""The work goes on while the service's output is not read, or its disk is full."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import Service, wait_for

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
BOUNCE = {"email": "bounce@simulator.example", "message": "x"}


@pytest.fixture(autouse=True)
def buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    # The interpreter has something to flush at its end only if it is not told to be unbuffered.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


def works_and_stops(service: Service) -> None:
    registry = service.registry_pid()
    for _ in range(3):
        assert service.finished(service.submit("/notify/", BOUNCE))["status"] == "failed"
        assert service.finished(service.submit("/notify/", NOTIFICATION))["status"] == "success"
    assert service.registry_pid() == registry
    assert service.stop() == 0
    wait_for(lambda: not service.processes(), "no process left behind")


def test_a_reader_of_the_log_that_has_gone_costs_neither_a_task_nor_the_exit_status(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(log_level="debug")
    reader, writer = os.pipe()
    service.start(output=writer, ready=False)
    os.close(writer)
    drained = threading.Thread(target=_read_until, args=(reader, b"registry serves"))
    drained.start()
    wait_for(service.is_ready, "service ready")
    drained.join(10)
    os.close(reader)
    works_and_stops(service)


def test_a_reader_that_was_never_there_does_not_prevent_the_start(
    new_service: Callable[..., Service],
) -> None:
    service = new_service()
    reader, writer = os.pipe()
    os.close(reader)
    service.start(output=writer)
    os.close(writer)
    works_and_stops(service)


@pytest.mark.parametrize(
    "closed",
    [*(pytest.param(one, marks=pytest.mark.thorough) for one in (">&-", "2>&-")), "<&- >&- 2>&-"],
)
def test_standard_streams_that_are_closed_do_not_prevent_the_start(
    new_service: Callable[..., Service], closed: str
) -> None:
    service = new_service(log_level="debug")
    service.command = ("sh", "-c", f'exec "$@" {closed}', "sh", *service.command)
    service.start()
    works_and_stops(service)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_log_on_a_full_disk_costs_neither_a_task_nor_the_exit_status(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(log_level="debug")
    full = os.open("/dev/full", os.O_WRONLY)
    service.start(output=full)
    os.close(full)
    works_and_stops(service)


@pytest.mark.parametrize(("setting", "status"), [({}, 0), ({"workers": "x"}, 2)])
def test_the_exit_status_is_right_although_nobody_reads_why(
    new_service: Callable[..., Service], setting: dict[str, str], status: int
) -> None:
    service = new_service(**setting)
    reader, writer = os.pipe()
    os.close(reader)
    service.start(output=writer, ready=status == 0)
    os.close(writer)
    assert service.master is not None
    if status == 0:
        service.master.send_signal(signal.SIGTERM)
    assert service.master.wait(30) == status


def _read_until(reader: int, text: bytes) -> None:
    found = b""
    while text not in found and (part := os.read(reader, 65_536)):
        found += part
