"""Endpoints that are called directly answer as FastAPI itself has them answer, errors included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import request_response

from afterwards import task_types
from afterwards.api import SURFACES, install
from afterwards.api.http_metrics import HttpMetrics
from afterwards.api.routing import Route
from afterwards.service.service import TaskService
from afterwards.settings import Settings
from afterwards.task_types.description import Catalogue, in_process
from tests.api.general.conftest import CATALOGUE as WITH_NOTES

pytestmark = pytest.mark.anyio

DIRECT: Final = [
    route
    for surface in SURFACES
    for route in surface.router.routes
    # A stream never ends.
    if isinstance(route, Route) and route.respond is not None and route.path != "/stats/events"
]
JSON: Final = {"Content-Type": "application/json"}
VARYING: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+(Z|\+\d\d:\d\d)?|(?<=\betag: ).*"
)
COUNTING: Final = ("/activity", "/metrics", "/stats", "/task-types", "/tasks/cancel", "/workers")
"""The numbers that they say, and the lines of metrics, depend on what was asked before."""


class Sent(NamedTuple):
    method: str
    path: str
    content: bytes = b""
    headers: dict[str, str] = JSON


BODIES: Final = {
    "/notify/": b'{"email":"johndoe@example.com","message":"Hello"}',
    "/report/": b'{"title":"T","details":"D"}',
    "/file/": b'{"content":{"a":1}}',
    "/send-email": b'{"to":"johndoe@example.com","subject":"S","message":"M"}',
    "/tasks": b'{"type":"note","payload":{"body":"Hello"},"delay_seconds":999}',
    "/tasks/batch": b'{"tasks":[{"type":"note","payload":{"body":"Hello"}}]}',
    "/tasks/retry": b'{"status":["failed"],"dry_run":true}',
    "/tasks/cancel": b'{"type":"nothing"}',
    "/tasks/{task_id}/retry": b'{"payload":{"body":"Again"}}',
    "/tasks/{task_id}": b'{"payload":{"body":"Else"}}',
    "/schedules/{name}": b'{"type":"note","payload":{"body":"Hello"},"every_seconds":3600}',
}
PARTS: Final = ("unknown", "463a6064-7979-4e48-ae70-1c6ccfd5b41f", "%C3%A4%20", "note", "..%2e")


def requests(task_id: str) -> Iterator[Sent]:
    """Every such route: as it is meant, with other parts of its path, and with wrong bodies."""
    for route in DIRECT:
        good = BODIES.get(route.path, b"")
        parts = (task_id, *PARTS) if "{" in route.path else ("",)
        paths = [re.sub(r"\{\w+\}", part, route.path) for part in parts]
        for method in sorted(route.methods or ()):
            wrong = (b"", b"{", b"{}", b"[]", b'{"type":1,"tasks":[{}]}', b"\xff", b'{"a":NaN}')
            for path in paths:
                yield Sent(method, path, good)
                yield Sent(method, path.rstrip("/") + "/", good)
            for content in wrong:
                yield Sent(method, paths[0], content)
            yield Sent(method, paths[0], good, {"Content-Type": "text/plain"})
            yield Sent(method, paths[0], good, {**JSON, "Content-Encoding": "gzip"})
            yield Sent(method, paths[0], good, {**JSON, "Idempotency-Key": '"'})
        yield Sent("OPTIONS", paths[0])


@pytest.fixture
def catalogue() -> Catalogue:
    return {**in_process(task_types.CATALOGUE), **WITH_NOTES}


async def answers(service: Any, catalogue: Catalogue) -> list[tuple[int, list[str]]]:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.state.service = service
    settings = Settings(_env_file=None, allowed_hosts=("service",))
    install(app, settings, HttpMetrics(), catalogue)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    found = []
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        new = await client.post("/tasks", content=BODIES["/tasks"], headers=JSON)
        for sent in requests(new.json()["id"]):
            answer = await client.request(
                sent.method,
                sent.path,
                content=sent.content,
                headers={**sent.headers, "X-Request-ID": "one"},
            )
            kept = [(n, v) for n, v in answer.headers.items() if n != "content-length"]
            head = "\n".join(f"{name}: {value}" for name, value in kept)
            shown = [VARYING.sub("...", text) for text in (str(sent), head, answer.text)]
            if sent.path.startswith(COUNTING):
                shown[-1] = re.sub(r"\d+", "0", shown[-1]).partition("\n")[0]
            found.append((answer.status_code, shown))
    return found


async def test_answers_are_fastapi_s_own(
    service: TaskService, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = await answers(service, catalogue)
    for route in DIRECT:
        monkeypatch.setattr(route, "respond", None)
        monkeypatch.setattr(route, "app", request_response(route.get_route_handler()))
    own = await answers(service, catalogue)

    assert {200, 202, 400, 404, 405, 409, 415, 422} <= {status for status, _ in direct}
    assert [pair for pair in zip(direct, own, strict=True) if pair[0] != pair[1]] == []
