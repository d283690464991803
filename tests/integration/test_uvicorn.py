"""The application under uvicorn alone: one process for HTTP and tasks, which owns the registry."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Service, wait_for

ROOT = Path(__file__).parents[2]
UVICORN = (
    str(Path(sys.executable).with_name("uvicorn")),
    "--factory",
    "afterwards.main:create_app",
)
REPORT = {"name": "Sales", "details": {}}


class UvicornService(Service):
    """The same, started by uvicorn."""

    def __init__(self, directory: Path, **settings: str) -> None:
        super().__init__(directory, **settings)
        self.command = (*UVICORN, "--port", self.address.rpartition(":")[2])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[UvicornService]:
    running = UvicornService(tmp_path)
    running.start()
    yield running
    running.kill_everything()


def test_tasks_are_done_and_a_stop_leaves_no_process(service: UvicornService) -> None:
    assert service.finished(service.submit("/report/", REPORT))["status"] == "success"
    # By the signal: uvicorn passes it on to itself at the end.
    assert service.stop() in (0, -signal.SIGTERM)
    wait_for(lambda: not service.processes(), "no process left behind")


def test_its_registry_is_started_again_when_it_dies(service: UvicornService) -> None:
    task_id = service.submit("/report/", REPORT)
    service.finished(task_id)
    dead = service.registry_pid()
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: service.registry_pid() != dead, "another registry")
    assert service.finished(task_id)["status"] == "success"
    assert service.stop() in (0, -signal.SIGTERM)


def test_it_takes_the_service_s_protocol(tmp_path: Path) -> None:
    service = UvicornService(tmp_path)
    text = (ROOT / "docs" / "configuration.md").read_text()
    (option,) = re.findall(r"`(--http \S+)`", text)
    service.command += tuple(option.split())
    service.start()
    try:
        assert service.finished(service.submit("/report/", REPORT))["status"] == "success"
        assert answer_to(service, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        large = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: %b\r\n\r\n" % (b"x" * 70_000)
        assert answer_to(service, large).startswith(b"HTTP/1.1 431 ")
        assert service.stop() in (0, -signal.SIGTERM)
    finally:
        service.kill_everything()


def answer_to(service: Service, request: bytes) -> bytes:
    host, _, port = service.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        return connection.makefile("rb").read()


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("AFTERWARDS_WORKERS", "x", "must be a valid integer (got 'x')"),
        (
            "AFTERWARDS_DATA_DIR",
            "/etc/passwd",
            "/etc/passwd is not a directory; move it away, or set another",
        ),
        (
            "AFTERWARDS_OUTPUT_DIR",
            "/etc/passwd",
            "/etc/passwd is not a directory; move it away, or set another",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(
    tmp_path: Path, variable: str, value: str, problem: str
) -> None:
    run = subprocess.run(
        UVICORN,
        env={**os.environ, variable: value},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"afterwards: {variable}: {problem}\n"
