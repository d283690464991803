from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from afterwards.api.http_metrics import UNMATCHED, HttpMetrics
from afterwards.api.request_context import HELD_BYTES, LARGE_BYTES, ROOM
from afterwards.logs import configure, get_logger

pytestmark = pytest.mark.anyio

LIMIT = 10_000  # of conftest's settings
JSON = {"Content-Type": "application/json"}


def file_of(size: int) -> bytes:
    frame = b'{"content":{"a":""}}'
    return frame.replace(b'""', b'"' + b"x" * (size - len(frame)) + b'"')


# -- request ids -------------------------------------------------------------------------------


@pytest.mark.parametrize("request_id", ["a", "A.b_c-9", "x" * 128])
async def test_a_clients_request_id_is_sent_back(
    client: httpx.AsyncClient, request_id: str
) -> None:
    answer = await client.get("/healthz", headers={"X-Request-ID": request_id})
    assert answer.headers["x-request-id"] == request_id


@pytest.mark.parametrize("request_id", ["", "x" * 129, "a b", "a\tb", "a;b", "é", '{"a"}'])
async def test_an_unacceptable_request_id_is_replaced(
    client: httpx.AsyncClient, request_id: str
) -> None:
    headers = [(b"X-Request-ID", request_id.encode())]
    answer = await client.get("/healthz", headers=headers)
    assert answer.headers["x-request-id"] not in ("", request_id)


async def test_every_answer_has_a_request_id_of_its_own(client: httpx.AsyncClient) -> None:
    paths = ["/healthz", "/nothing", "/status/x", "/notify/", "/docs"]
    ids = [(await client.get(path)).headers["x-request-id"] for path in paths]
    assert len(set(ids)) == len(paths)


async def test_the_request_id_is_bound_for_the_handler_and_its_background_tasks(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    seen: list[object] = []

    async def look() -> None:
        seen.append(structlog.contextvars.get_contextvars()["request_id"])

    @app.get("/look")
    async def handler(background: BackgroundTasks) -> None:
        background.add_task(look)
        await look()

    await client.get("/look", headers={"X-Request-ID": "mine"})
    assert seen == ["mine", "mine"]


@pytest.fixture
def log_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[str], Callable[[], list[dict[str, Any]]]]]:
    """Have everything logged as in production, at a level; gives what was logged so far."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def log_at(chosen: str) -> Callable[[], list[dict[str, Any]]]:
        configure(chosen, "json")
        # Loggers remember the configuration they were first used with.
        monkeypatch.setattr(
            "afterwards.api.request_context.log", get_logger("afterwards.api.request_context")
        )
        return lambda: [
            line
            for line in map(json.loads, capsys.readouterr().err.splitlines())
            if line["logger_name"] != "httpx"  # the client's
        ]

    yield log_at
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


async def test_what_is_logged_during_a_request_has_its_id(
    client: httpx.AsyncClient, app: FastAPI, service: Any, log_lines: Any
) -> None:
    @app.get("/warn")
    async def handler(background: BackgroundTasks) -> None:
        get_logger("app.example").warning("ours")
        logging.getLogger("asyncio").warning("theirs")
        background.add_task(lambda: get_logger("app.example").warning("afterwards"))

    logged = log_lines("info")
    await client.get("/warn", headers={"X-Request-ID": "first"})
    service.broken = RuntimeError("broken")
    await client.get("/status/x", headers={"X-Request-ID": "second"})
    assert [(line["request_id"], line["level"]) for line in logged()] == [
        *[("first", "warning")] * 3,
        ("second", "error"),
    ]


async def test_a_request_that_goes_well_is_logged_at_debug_only(
    client: httpx.AsyncClient, log_lines: Any
) -> None:
    headers = {"X-Request-ID": "mine"}
    logged = log_lines("info")
    await client.get("/healthz", headers=headers)
    assert logged() == []
    logged = log_lines("debug")
    await client.get("/healthz", headers=headers)
    [line] = logged()
    assert (line["request_id"], line["path"], line["status"]) == ("mine", "/healthz", 200)


# -- metrics -----------------------------------------------------------------------------------


async def test_requests_are_counted_by_route_template(
    client: httpx.AsyncClient, http_metrics: HttpMetrics
) -> None:
    for path in ("/status/a", "/status/b/", "/nothing/1", "/nothing/2", "/healthz", "/docs"):
        await client.get(path)
    await client.post("/healthz")
    assert http_metrics.counts().requests == {
        ("GET", "/status/{task_id}", "404"): 2,
        ("GET", UNMATCHED, "404"): 2,
        ("GET", "/healthz", "200"): 1,
        ("GET", "/docs", "200"): 1,
        ("POST", "/healthz", "405"): 1,
    }


async def test_refused_and_unexpected_requests_are_counted_too(
    client: httpx.AsyncClient, service: Any, http_metrics: HttpMetrics
) -> None:
    await client.post("/file/", content=file_of(LIMIT + 1), headers=JSON)
    service.broken = RuntimeError
    await client.get("/status/x")
    assert http_metrics.counts().requests == {
        ("POST", UNMATCHED, "413"): 1,
        ("GET", "/status/{task_id}", "500"): 1,
    }


async def test_a_request_is_counted_before_its_background_tasks_run(
    client: httpx.AsyncClient, app: FastAPI, http_metrics: HttpMetrics
) -> None:
    versions: list[int] = []

    @app.get("/look")
    async def handler(background: BackgroundTasks) -> None:
        background.add_task(lambda: versions.append(http_metrics.version))

    await client.get("/look")
    assert versions == [1]


async def test_a_background_task_that_raises_does_not_spoil_its_answer(
    client: httpx.AsyncClient, app: FastAPI, http_metrics: HttpMetrics
) -> None:
    @app.get("/raise")
    async def handler(background: BackgroundTasks) -> None:
        background.add_task(lambda: 1 / 0)

    assert (await client.get("/raise")).status_code == 200
    assert http_metrics.version == 1


async def test_half_an_answer_is_left_to_the_server_to_end(app: FastAPI) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("no more")

    @app.get("/half")
    async def handler() -> StreamingResponse:
        return StreamingResponse(parts())

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        with pytest.raises(RuntimeError, match="no more"):
            await client.get("/half")


# -- room for answers --------------------------------------------------------------------------


class Room:
    """A server's room for answers, of so many bytes; uses nothing up."""

    def __init__(self, app: FastAPI, left: int) -> None:
        self._app = app
        self._left = left
        self.asked: list[tuple[int, bool]] = []

    def _ask(self, length: int, must: bool) -> bool:
        self.asked.append((length, must))
        return length <= self._left

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"] = {ROOM: self._ask}
        await self._app(scope, receive, send)


@contextlib.asynccontextmanager
async def crowded(app: FastAPI, left: int) -> AsyncIterator[tuple[httpx.AsyncClient, Room]]:
    room = Room(app, left)
    transport = httpx.ASGITransport(room)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client, room


def add_large(app: FastAPI, path: str, calls: list[str]) -> None:
    async def handler() -> Response:
        calls.append(path)
        return Response(b"x" * LARGE_BYTES)

    app.add_api_route(path, handler, methods=["GET", "HEAD", "POST"])


async def test_a_large_answer_to_get_is_refused_where_there_is_no_room_for_it(
    app: FastAPI, http_metrics: HttpMetrics
) -> None:
    add_large(app, "/large", [])
    async with crowded(app, LARGE_BYTES - 1) as (client, room):
        refused = await client.get("/large")
        small = await client.get("/healthz")
        head = await client.head("/large")
    assert (refused.status_code, small.status_code, head.status_code) == (503, 200, 200)
    assert refused.json()["status"] == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-request-id"]
    assert room.asked == [(LARGE_BYTES, False)]
    assert http_metrics.counts().requests == {
        ("GET", "/large", "503"): 1,
        ("GET", "/healthz", "200"): 1,
        ("HEAD", "/large", "200"): 1,
    }


async def test_an_answer_in_parts_takes_the_room_of_what_it_holds_at_once(app: FastAPI) -> None:
    async def handler(request: Request) -> Response:
        request.scope[HELD_BYTES] = LARGE_BYTES
        return Response(b"x" * 2 * LARGE_BYTES)

    app.add_api_route("/file", handler)
    async with crowded(app, LARGE_BYTES) as (client, room):
        assert (await client.get("/file")).status_code == 200
    assert room.asked == [(LARGE_BYTES, False)]


async def test_what_has_an_effect_is_answered_or_refused_before_it(app: FastAPI) -> None:
    calls: list[str] = []
    add_large(app, "/large", calls)
    async with crowded(app, 0) as (client, room):
        answered = await client.post("/large")
    assert (answered.status_code, len(answered.content)) == (200, LARGE_BYTES)
    assert room.asked == [(0, False), (LARGE_BYTES, True)]
    async with crowded(app, -1) as (client, _):
        refused = await client.post("/large")
    assert refused.status_code == 503
    assert calls == ["/large"]


async def test_what_watches_the_service_is_answered_however_little_room_there_is(
    app: FastAPI,
) -> None:
    async with crowded(app, -1) as (client, _):
        for path in app.state.always_answered:
            assert (await client.get(path)).status_code == 200, path
