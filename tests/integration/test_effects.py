"""A real service whose tasks call a real server, with a secret that is nowhere to be found."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.conftest import Service, started, wait_for

VALUE: Final = "hidden-in-the-file"
BEARER: Final = f"Bearer {VALUE}"


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers of the request; the first one at `/busy` is sent away."""

    asked: Final[list[tuple[str, dict[str, str]]]] = []

    def do_POST(self) -> None:
        headers = dict(self.headers.items())
        self.rfile.read(int(headers.get("Content-Length", 0)))
        is_first = all(path != self.path for path, _ in self.asked)
        self.asked.append((self.path, headers))
        body = json.dumps(headers).encode()
        self.send_response(503 if self.path == "/busy" and is_first else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def service(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("effects")
    secrets = directory / "secrets.json"
    secrets.touch(0o600)
    secrets.write_text(json.dumps({"shop": {"value": VALUE, "hosts": ["127.0.0.1"]}}))
    service = Service(
        directory,
        builtin_types="report,http",
        http_hosts="127.0.0.1,*.example",
        http_ports=str(port),
        http_networks="127.0.0.0/8",
        secrets_file="secrets.json",
        log_level="debug",
    )
    with started(service):
        yield service


def payload(port: int, path: str = "/", host: str = "127.0.0.1") -> dict[str, Any]:
    return {
        "method": "POST",
        "url": f"http://{host}:{port}{path}",
        "headers": {"Authorization": "Bearer ${secret:shop}"},
        "json": {"order": 7},
    }


def submitted(service: Service, members: dict[str, Any]) -> str:
    answer = service.post("/tasks", {"type": "http", "payload": members})
    assert answer.status_code == 202, answer.text
    task_id: str = answer.json()["id"]
    return task_id


def asked_at(path: str) -> list[dict[str, str]]:
    return [headers for asked, headers in Echo.asked if asked == path]


def test_a_task_calls_a_server_until_that_takes_it(service: Service, port: int) -> None:
    task_id = submitted(service, payload(port, "/busy"))
    document = service.finished(task_id)
    assert document["status"] == "success", document
    assert document["result"]["status"] == 200
    first, second = asked_at("/busy")
    assert [one["Afterwards-Attempt"] for one in (first, second)] == ["1", "2"]
    assert first["Idempotency-Key"] == second["Idempotency-Key"] == f'"{task_id}"'
    assert first["Authorization"] == second["Authorization"] == BEARER


def test_a_reload_of_task_code_leaves_the_host_of_effects_alone(
    service: Service, port: int
) -> None:
    def hosts(generation: int) -> set[int] | None:
        workers = service.get("/workers").json()["workers"]
        found = [host for worker in workers for host in worker["hosts"] if host["kind"] == "async"]
        assert {host["state"] for host in found} <= {"running"}
        # It runs the service's own code, which belongs to every generation. Workers tell of their
        # hosts a moment later than of themselves.
        told = {one["generation"] for one in (*workers, *found)}
        return {host["pid"] for host in found} if told == {generation} else None

    service.finished(submitted(service, payload(port)))
    before = wait_for(lambda: hosts(1), "a host of effects")
    assert service.master is not None
    service.master.send_signal(signal.SIGHUP)
    after = wait_for(lambda: hosts(2), "the next generation")
    assert before <= after
    assert service.finished(submitted(service, payload(port)))["status"] == "success"


@pytest.mark.parametrize(
    ("change", "pointer", "reason"),
    [
        ({"url": "http://other.test/"}, "#/payload/url", "AFTERWARDS_HTTP_HOSTS"),
        ({"url": "http://169.254.169.254/"}, "#/payload/url", "AFTERWARDS_HTTP_HOSTS"),
        ({"headers": {"X": "${secret:gone}"}}, "#/payload/headers", "no secret 'gone'"),
    ],
)
def test_the_door_refuses_what_may_not_be_sent(
    service: Service, port: int, change: dict[str, Any], pointer: str, reason: str
) -> None:
    wanted = {"type": "http", "payload": {**payload(port), **change}}
    for path, body in (("/tasks", wanted), ("/tasks/batch", {"tasks": [wanted]})):
        answer = service.post(path, body)
        assert answer.status_code == 422, answer.text
        [problem] = answer.json()["errors"]
        assert problem["pointer"].endswith(pointer.removeprefix("#"))
        assert reason in problem["message"]


def test_a_secret_goes_to_its_own_hosts_only(service: Service, port: int) -> None:
    members = payload(port, host="api.example")
    answer = service.post("/tasks", {"type": "http", "payload": members})
    assert answer.status_code == 422
    assert "may not go to 'api.example'" in answer.text


def test_a_type_that_is_off_has_no_route_and_takes_no_tasks(service: Service) -> None:
    assert service.post("/send-email", {}).status_code == 404
    answer = service.post("/tasks", {"type": "email", "payload": {}})
    assert (answer.status_code, "there are http, report" in answer.text) == (422, True)


def test_the_secret_is_in_no_answer_no_file_and_no_process(service: Service, port: int) -> None:
    task_id = submitted(service, payload(port, "/echo"))
    result = service.finished(task_id)["result"]
    assert json.loads(result["body"])["Authorization"] == "Bearer **********"
    assert asked_at("/echo")[0]["Authorization"] == BEARER
    paths = (
        f"/tasks/{task_id}",
        "/tasks?payloads=true",
        "/task-types",
        "/workers",
        "/openapi.json",
    )
    shown = b"".join(service.get(path).content for path in paths)
    assert task_id.encode() in shown
    of_processes = [
        (Path(f"/proc/{pid}") / name).read_bytes()
        for pid in service.processes()
        for name in ("environ", "cmdline")
    ]
    stored = [file.read_bytes() for file in service.data_dir.rglob("*") if file.is_file()]
    log = service.log_file.read_bytes()
    assert b"attempt starts" in log
    for place in (shown, log, *of_processes, *stored):
        assert VALUE.encode() not in place
