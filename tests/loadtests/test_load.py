"""`make load` for 10 s, and what makes a load test fail."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.integration.conftest import wait_for

ROOT = Path(__file__).parents[2]
LOADTESTS = ROOT / "loadtests"
BURST = LOADTESTS / "scenarios" / "burst.py"
LOCUST = Path(sys.executable).with_name("locust")

GENEROUS = 60_000
"""Milliseconds: on a busy machine, what is tested here is not how fast it is."""


def limits_file(directory: Path, *, p95_ms: int = GENEROUS, settle_seconds: float = 30) -> Path:
    file = directory / "limits.toml"
    file.write_text(f"settle_seconds = {settle_seconds}\n[p95_ms]\ndefault = {p95_ms}\n")
    return file


@pytest.mark.timeout(180)
def test_10_s_of_all_scenarios_fail_no_request_and_lose_no_task(tmp_path: Path) -> None:
    delays = {
        f"AFTERWARDS_{kind}_DELAY_SECONDS": "0.2"
        for kind in ("NOTIFICATION", "REPORT", "FILE", "EMAIL")
    }
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.load", "--users=20", "--seconds=10",
         f"--limits={limits_file(tmp_path)}", f"--output={tmp_path / 'out'}"],
        cwd=ROOT, env={**os.environ, **delays}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"(\d+) tasks accepted, (\d+) finished", done.stdout)
    assert counted
    assert int(counted[1]) == int(counted[2]) > 50
    # What Locust's users noted is what the service has, but for those whose answer was not awaited.
    noted = re.search(r"all (\d+) accepted tasks are finished", done.stderr)
    assert noted
    assert 0 <= int(counted[1]) - int(noted[1]) <= 20
    assert "<html" in (tmp_path / "out" / "report.html").read_text()
    with (tmp_path / "out" / "report_stats.csv").open() as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    assert {"/notify/", "/status/{task_id}", "/retry-task/{task_id}"} <= set(rows)
    assert rows["Aggregated"]["Failure Count"] == "0"


USERS = 2
FIRST_NOTED = 10
"""After so many submissions, two users that send one request at a time have noted the first."""


class Pretended(NamedTuple):
    """A service that is none, and what its users have seen of it."""

    address: str
    noted: threading.Event
    """Set once they have noted what is to be judged."""


@contextmanager
def pretender(
    *,
    status: str = "success",
    answer: int = 202,
    pause_seconds: float = 0,
    noted_after: int = FIRST_NOTED,
) -> Iterator[Pretended]:
    """A service that accepts every task, and says of each what it is told to.

    Args:
        noted_after: so many submissions show that what is to be judged has been noted.
    """
    numbers = count()
    noted = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            number = next(numbers)
            self._answer(answer, {}, f"/status/{number}")
            if number > noted_after:
                noted.set()

        def do_GET(self) -> None:
            self._answer(200, {"id": self.path.rpartition("/")[2], "status": status})

        def _answer(self, code: int, body: object, location: str | None = None) -> None:
            time.sleep(pause_seconds)
            content = json.dumps(body).encode()
            self.send_response(code)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Pretended(f"http://127.0.0.1:{server.server_address[1]}", noted)
        finally:
            server.shutdown()
            thread.join()


def locust(service: Pretended, directory: Path, limits: Path) -> subprocess.CompletedProcess[str]:
    """Alone against a host, from anywhere, until it has noted what it is to judge."""
    command = [str(LOCUST), f"--locustfile={LOADTESTS / 'locustfile.py'}",
               f"--host={service.address}", "--headless", f"--users={USERS}",
               f"--spawn-rate={USERS}", f"--limits={limits}", "Burst"]  # fmt: skip
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=directory, stdout=pipe, stderr=pipe, text=True) as process:
        noted = service.noted.wait(60)
        process.terminate()
        out, err = process.communicate()
    assert noted, err
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_what_goes_well_passes(tmp_path: Path) -> None:
    with pretender() as service:
        done = locust(service, tmp_path, limits_file(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "verdict: passed" in done.stderr


def test_a_lost_task_fails_and_is_in_the_report(tmp_path: Path) -> None:
    with pretender(status="pending") as service:
        done = locust(service, tmp_path, limits_file(tmp_path, settle_seconds=0.5))
    assert done.returncode == 1, done.stderr
    assert "accepted tasks are lost" in done.stderr
    assert "task not finished after the load" in done.stderr


def test_a_failed_request_fails(tmp_path: Path) -> None:
    with pretender(answer=503) as service:
        done = locust(service, tmp_path, limits_file(tmp_path))
    assert done.returncode == 1, done.stderr
    assert "not accepted: 503" in done.stdout + done.stderr


def test_a_task_that_ends_otherwise_than_it_should_fails(tmp_path: Path) -> None:
    # Importing it here would have gevent patch this process.
    burst = re.search(r"^BURST_TASKS: Final = (\d+)$", BURST.read_text(), re.MULTILINE)
    assert burst
    # Then one of them is at its second burst, and has noted the first.
    with pretender(status="failed", noted_after=USERS * int(burst[1])) as service:
        done = locust(service, tmp_path, limits_file(tmp_path))
    assert done.returncode == 1, done.stderr
    assert "burst: task succeeds" in done.stdout + done.stderr


def test_a_p95_over_its_limit_fails(tmp_path: Path) -> None:
    with pretender(pause_seconds=0.02) as service:
        done = locust(service, tmp_path, limits_file(tmp_path, p95_ms=10))
    assert done.returncode == 1, done.stderr
    assert re.search(r"POST /notify/: p95 is \d+ ms, its limit 10 ms", done.stderr)


def test_what_locust_loads_needs_nothing_of_the_service() -> None:
    # It is used in a container that has Locust and this folder, and nothing else of ours.
    files = [LOADTESTS / name for name in ("locustfile.py", "verdict.py", "errors.py")]
    found = {
        node.module or ""
        for file in (*files, *(LOADTESTS / "scenarios").glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    ours = {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}
    assert ours <= {
        *("locust", "locust.argument_parser", "locust.clients", "locust.env", "locust.runners"),
        *("loadtests", "loadtests.errors", "loadtests.verdict"),
        *(name for name in ours if name.startswith("loadtests.scenarios.")),
    }


def test_the_page_is_served_and_ctrl_c_ends_everything_in_order(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        load = subprocess.Popen(
            [sys.executable, "-m", "loadtests.load", "--ui", f"--port={port}"],
            cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

    def page() -> str | None:
        assert load.poll() is None, (tmp_path / "log").read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/").text
        except httpx.TransportError:
            return None

    try:
        assert "<title>Locust</title>" in wait_for(page, "the page")
    finally:
        # As the terminal does: to all of them at once, but for the service.
        os.killpg(load.pid, signal.SIGINT)
        status = load.wait(40)
    assert status == 0, (tmp_path / "log").read_text()
