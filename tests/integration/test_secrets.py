"""Nothing that the service says has a secret in it, at the most talkative level and in trouble."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from afterwards.registry.process.lock import holder_of
from tests.integration.conftest import Service, wait_for

SECRETS: Final = {
    name: f"hidden{number}{name}"
    for number, name in enumerate(
        (
            "variable",
            "written",
            "mistyped",
            "bearer",
            "basic",
            "cookie",
            "card",
            "password",
            "query",
        )
    )
}
JOURNAL_KEY: Final = base64.b64encode(b"hidden in the settings, 32 bytes").decode()
MODULE: Final = """
import os
from pydantic import BaseModel, SecretStr
from afterwards import TaskContext, TaskType

class Charge(BaseModel):
    card: SecretStr
    password: str
    amount: int

def charge(payload: Charge, context: TaskContext) -> None:
    assert os.environ["DATABASE_URL"] and os.environ["SMTP_URL"]
    if payload.amount == 13:
        os._exit(1)
    raise RuntimeError(f"the bank refuses {payload.amount} from {payload.card}")

CHARGE = TaskType("charge", Charge, charge, executor="process", max_attempts=1)
"""
LOOKED_AT: Final = (
    "/",
    "/openapi.json",
    "/docs",
    "/metrics",
    "/readyz",
    "/stats",
    "/task-types",
    "/workers",
    "/activity",
    "/tasks",
    "/schedules?payloads=true",
    "/errors",
    "/keys",
    "/audit",
    "/session",
)


def first_key(service: Service) -> str:
    """The token of an administrator, with which all further requests are sent."""
    command = [*service.command[:1], "keys", "create", "admin", "--role", "admin", "--payloads"]
    command += ["--data-dir", str(service.data_dir)]
    token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    service.client.headers["Authorization"] = f"Bearer {token}"
    is_in_force = partial(service.get, "/keys")
    wait_for(lambda: is_in_force().status_code == 200, "the key is in force")
    return token


def further_keys(service: Service) -> list[str]:
    """The tokens of a key, and of the one that a rotation made in its place."""
    made = service.post("/keys", {"name": "shop", "role": "submitter"}).json()
    rotated = service.post(f"/keys/{made['id']}/rotate").json()
    assert service.client.delete(f"/keys/{made['id']}").status_code == 204
    return [made["token"], rotated["token"]]


def session(service: Service, token: str, said: dict[str, str]) -> str:
    """The cookie of a session that was opened after a failed login and used in many ways."""
    client = httpx.Client(base_url=service.url, headers={"Origin": service.url}, timeout=30)
    with client:
        logins = [client.post("/session", json={"token": one}) for one in (token[:-1], token)]
        assert [login.status_code for login in logins] == [401, 201]
        cookie = client.cookies["afterwards_session"]
        answers = [client.get(path) for path in ("/session", "/tasks", "/activity")]
        assert {answer.status_code for answer in answers} == {200}
        answers += [client.get("/tasks", params={"token": token}), client.delete("/tasks/none")]
    said["answers to a session"] = "".join(answer.text for answer in (*logins, *answers))
    return cookie


def credentials(*tokens: str) -> list[dict[str, str]]:
    """Headers of clients that have, or believe to have, something to show."""
    basic = base64.b64encode(f"somebody:{SECRETS['basic']}".encode()).decode()
    bearer = f"Bearer aw_abcdefghijkl_{SECRETS['bearer'].ljust(43, 'x')}"
    cookie = {"Cookie": f"session={SECRETS['cookie']}"}
    return [
        *({"Authorization": f"Bearer {token}", **cookie} for token in tokens),
        {"Authorization": bearer, **cookie},
        {"Authorization": f"Basic {basic}", **cookie},
        {"Authorization": SECRETS["bearer"], "Cookie": SECRETS["cookie"]},
    ]


def charge(amount: object, card: object = SECRETS["card"]) -> dict[str, Any]:
    return {
        "type": "charge",
        "payload": {"card": card, "password": SECRETS["password"], "amount": amount},
    }


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    made = new_service(
        log_level="debug",
        workers="1",
        task_modules="shop",
        allowed_hosts="tasks.example.org",
        smtp_pasword=SECRETS["mistyped"],
        encryption_keys=f"first:{JOURNAL_KEY}",
    )
    made.set_plain(
        DATABASE_URL=f"postgres://shop:{SECRETS['variable']}@db.example/shop",
        PYTHONPATH=str(made.directory),
    )
    (made.directory / ".env").write_text(f"SMTP_URL=smtp://{SECRETS['written']}@mail.example\n")
    (made.directory / "shop.py").write_text(MODULE)
    made.start()
    return made


def ask(service: Service, headers: dict[str, str]) -> list[str]:
    """The answers to requests of all kinds, most of which are mistaken."""
    client, secret = service.client, SECRETS["card"]
    plain = {**headers, "Content-Type": "text/plain"}
    as_json = {**headers, "Content-Type": "application/json"}
    answers = [
        client.post("/tasks", json=charge(1), headers=headers),
        client.post("/tasks", json=charge("much"), headers=headers),
        client.post("/tasks", json=charge(1, [secret]), headers=headers),
        client.post("/tasks", content=json.dumps(charge(1))[:-1], headers=as_json),
        client.post("/tasks", content=json.dumps(charge(1)), headers=plain),
        client.post("/tasks", content=secret * 200_000, headers=as_json),
        client.put("/tasks", headers=headers),
        client.get("/nowhere", headers=headers),
        client.get("/tasks", params={"token": SECRETS["query"]}, headers=headers),
        client.get("/tasks", headers={**headers, "Host": "elsewhere.example"}),
        client.post("/tasks", headers={**headers, "Origin": "https://elsewhere.example"}),
    ]
    statuses = {answer.status_code for answer in answers}
    assert statuses >= {403, 405, 421}
    assert 401 in statuses or statuses >= {404, 413, 415, 422}
    return [answer.text for answer in answers]


def ask_badly(service: Service, head: str) -> str:
    """The answer to what is not HTTP, or too much of it."""
    host, _, port = service.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"GET /tasks HTTP/1.1\r\nHost: {host}\r\n{head}\r\n\r\n".encode())
        return connection.recv(65536).decode()


def disturb(service: Service) -> None:
    """Kill what can be killed, and break what can be broken."""
    broken = service.directory / "shop.py"
    broken.write_text(MODULE + "\nraise RuntimeError")
    assert service.master is not None
    service.master.send_signal(signal.SIGHUP)
    log = service.log_file
    wait_for(lambda: "task code is not renewed" in log.read_text(), "the broken module is seen")
    for pid in (service.registry_pid(), *service.worker_pids()):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "registry process died" in log.read_text(), "the registry's death is seen")


def command_lines(service: Service) -> str:
    return "".join(
        Path(f"/proc/{pid}/cmdline").read_text(errors="replace") for pid in service.processes()
    )


def test_nothing_that_is_said_has_a_secret_in_it(service: Service) -> None:
    holder = holder_of(service.data_dir)
    assert holder is not None
    tokens = [first_key(service), *further_keys(service)]
    hidden = {**SECRETS, "the registry's key": holder.endpoint.authkey().hex()}
    hidden["the journal's key"] = JOURNAL_KEY
    hidden |= {f"token {number}": token[-43:] for number, token in enumerate(tokens)}
    said = {"answers": ""}
    hidden["the session"] = session(service, tokens[0], said)
    for headers in credentials(*tokens):
        said["answers"] += "".join(ask(service, headers))
        authorization = f"Authorization: {headers['Authorization']}"
        said["answers"] += ask_badly(service, f"{authorization}\r\nno header")
        said["answers"] += ask_badly(service, f"{authorization}{'x' * 100_000}")
    tasks = [service.post("/tasks", charge(amount)).json()["id"] for amount in (1, 13)]
    for task_id in tasks:
        assert service.finished(task_id)["status"] == "failed"
    said["command lines"] = command_lines(service)
    disturb(service)
    for headers in credentials(*tokens):
        try:
            said["answers"] += service.client.post("/tasks", json=charge(1), headers=headers).text
        except httpx.TransportError:
            continue
    wait_for(service.is_ready, "the service is ready again")
    for path in (*LOOKED_AT, *(f"/tasks/{task_id}" for task_id in tasks)):
        answer = service.get(path)
        assert answer.status_code == 200, path
        said[path] = answer.text
    assert service.stop() == 0
    said["log"] = service.log_file.read_text()

    assert all(line in said["log"] for line in ("attempt failed", "PASWORD", "RuntimeError"))
    found = [(name, where) for name, s in hidden.items() for where, t in said.items() if s in t]
    assert found == []
