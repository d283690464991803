"""Which requests go past the router, and that nobody can tell from their answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from afterwards.api import install
from afterwards.api.direct import Shortcut
from afterwards.api.http_metrics import HttpMetrics
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.errors import RegistryUnavailable
from afterwards.settings import Settings

pytestmark = pytest.mark.anyio

GOOD = b'{"email":"johndoe@example.com","message":"Hello"}'
JSON = {"Content-Type": "application/json"}


async def router(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands where the router does."""
    await Response("router")(scope, receive, send)


@needs(Role.PUBLIC)
async def shortcut() -> Response:
    return Response("shortcut")


async def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, **options)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.request(method, path)


@pytest.mark.parametrize(
    ("method", "path", "who"),
    [
        ("POST", "/exact", "shortcut"),
        ("POST", "/exact/", "shortcut"),
        ("GET", "/exact", "shortcut"),
        ("GET", "/", "shortcut"),
        ("PUT", "/exact", "router"),
        ("HEAD", "/exact", "router"),
        ("POST", "/exact//", "router"),
        ("POST", "/other", "router"),
        ("POST", "/with/parameter", "router"),
        ("POST", "/indirect", "router"),
        ("POST", "/with/shadow", "router"),
    ],
)
async def test_what_an_exact_path_decides_goes_past_the_router(
    method: str, path: str, who: str
) -> None:
    routes = new_router("Test")
    routes.add_api_route("/with/{parameter}", lambda parameter: None, methods=["POST"])
    for exact, methods in (("/exact", ["POST"]), ("/exact/", ["GET"]), ("/", ["GET"])):
        routes.add_api_route(exact, shortcut, methods=methods)
    routes.add_api_route("/with/shadow", shortcut, methods=["POST"])

    async def indirect(number: int) -> None: ...

    routes.add_api_route("/indirect", indirect, methods=["POST"])

    answer = await ask(Shortcut(router, routes.routes), method, path)

    if method != "HEAD":
        assert answer.text == who


async def test_below_a_root_path_everything_is_the_routers() -> None:
    routes = new_router("Test")
    routes.add_api_route("/exact", shortcut, methods=["POST"])

    answer = await ask(Shortcut(router, routes.routes), "POST", "/exact", root_path="/exact")

    assert answer.text == "router"


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        pytest.param((GOOD, JSON), (None, 202), id="accepted"),
        pytest.param((b"{", JSON), (None, 422), id="no JSON"),
        pytest.param((b'{"email":1}', JSON), (None, 422), id="not valid"),
        pytest.param((b"", JSON), (None, 422), id="no body"),
        pytest.param((GOOD, {"Content-Type": "text/plain"}), (None, 415), id="wrong type"),
        pytest.param((GOOD + b" " * 10_000, JSON), (None, 413), id="too large"),
        pytest.param((GOOD, {**JSON, "Idempotency-Key": '"'}), (None, 400), id="no key"),
        pytest.param((GOOD, JSON), (RegistryUnavailable(), 503), id="unavailable"),
        pytest.param((GOOD, JSON), (ValueError("a bug"), 500), id="unexpected"),
    ],
)
async def test_answers_are_the_same_as_the_routers(
    service: Any,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    sent: tuple[bytes, dict[str, str]],
    outcome: tuple[Exception | None, int],
) -> None:
    (body, headers), (trouble, status) = sent, outcome
    service.broken = trouble
    found = []
    for routed in (False, True):
        metrics = HttpMetrics()
        with monkeypatch.context() as patch:
            if routed:
                patch.setattr("afterwards.api.Shortcut", _none)
            app = FastAPI(docs_url=None, redoc_url=None)
            app.state.service = service
            install(app, settings, metrics)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            answer = await client.post(
                "/notify/", content=body, headers={**headers, "X-Request-ID": "one"}
            )
        assert answer.status_code == status, answer.text
        kept = {n: v for n, v in answer.headers.items() if n != "location"}
        shown = {n: v for n, v in answer.json().items() if n != "task_id"}
        found.append((kept, shown, metrics.counts().requests))
    assert found[0] == found[1]


def _none(app: Any, **_options: Any) -> Any:
    return app
