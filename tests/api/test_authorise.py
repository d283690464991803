"""Requests that are let in, and the refusals of the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Mount
from starlette.routing import Route as PlainRoute
from starlette.staticfiles import StaticFiles

from afterwards.access.keyring import NO_KEYS, Keyring
from afterwards.access.roles import Grant, Role
from afterwards.api import SURFACES, install
from afterwards.api.authorise import Gate
from afterwards.api.http_metrics import HttpMetrics
from afterwards.api.routing import new_router, require_declared
from afterwards.settings import Settings
from tests.access.holders import holder, ring_of

pytestmark = pytest.mark.anyio

NOTIFICATION = {"email": "johndoe@example.com", "message": "Received."}
SHORT, ROUTED, WITH_QUERY = "/notify/", "/status/unknown", "/events"
"""Paths of the three ways to an endpoint."""

VIEWER, SUBMITTER = holder(Role.VIEWER, "eyes"), holder(Role.SUBMITTER, "shop")
ADMIN = holder(Role.ADMIN, "root")
SUBMITS = holder(grants=frozenset({Grant.SUBMIT}))
REVOKED, EXPIRED = holder(Role.ADMIN, revoked_at=1.0), holder(Role.ADMIN, expires_at=1.0)


@pytest.fixture
def gate(app: FastAPI) -> Gate:
    """A gate that asks for keys."""
    found: Gate = app.state.gate
    found.renew(ring_of(VIEWER, SUBMITTER, ADMIN, SUBMITS, REVOKED, EXPIRED))
    return found


@pytest.mark.usefixtures("gate")
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", SHORT), ("GET", ROUTED), ("GET", WITH_QUERY), ("HEAD", ROUTED), ("GET", "/docs")],
)
async def test_nobody_is_told_that_a_key_is_needed(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    if method != "HEAD":
        assert "afterwards keys create" in answer.json()["detail"]


@pytest.mark.usefixtures("gate")
async def test_all_keys_that_are_not_valid_get_the_same_answer(client: httpx.AsyncClient) -> None:
    sent = [holder(Role.ADMIN).token, REVOKED.token, EXPIRED.token, "", "aw_", "aw_é" * 9]
    said = set()
    for token in sent:
        answer = await client.get(ROUTED, headers=[(b"authorization", f"Bearer {token}".encode())])
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        said.add(answer.content)
    assert len(said) == 1
    assert "expired or revoked" in answer.json()["detail"]


@pytest.mark.usefixtures("gate")
@pytest.mark.parametrize("value", ["Basic {}", "{}", "Bearer", "Bearer{}", "Bearer {} {}", "{} x"])
async def test_a_key_is_a_bearer_token(client: httpx.AsyncClient, value: str) -> None:
    sent = value.replace("{}", ADMIN.token)
    assert (await client.get(ROUTED, headers={"Authorization": sent})).status_code == 401


@pytest.mark.usefixtures("gate")
async def test_two_keys_at_once_are_none(client: httpx.AsyncClient) -> None:
    headers = [*VIEWER.headers.items(), *ADMIN.headers.items()]
    assert (await client.get(ROUTED, headers=headers)).status_code == 401


@pytest.mark.usefixtures("gate")
@pytest.mark.parametrize("place", ["access_token", "token", "key"])
async def test_a_token_in_a_url_is_none(client: httpx.AsyncClient, place: str) -> None:
    assert (await client.get(ROUTED, params={place: ADMIN.token})).status_code == 401


@pytest.mark.usefixtures("gate")
@pytest.mark.parametrize("query", ["token={}", "access_token={}", "after=1&token={}", "token="])
@pytest.mark.parametrize("path", [ROUTED, WITH_QUERY, "/session"])
async def test_a_token_in_a_url_is_refused_also_next_to_a_valid_key(
    client: httpx.AsyncClient, path: str, query: str
) -> None:
    answer = await client.get(f"{path}?{query.format(ADMIN.token)}", headers=ADMIN.headers)
    assert answer.status_code == 401
    assert "not taken from a URL" in answer.json()["detail"]
    assert ADMIN.token not in answer.text


@pytest.mark.usefixtures("gate")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_schemes_case_means_nothing(client: httpx.AsyncClient, scheme: str) -> None:
    answer = await client.get(ROUTED, headers={"Authorization": f"{scheme} {VIEWER.token}"})
    assert answer.status_code == 404  # let in: there is no such task


@pytest.mark.usefixtures("gate")
async def test_a_key_that_does_not_reach_so_far_is_told_why(client: httpx.AsyncClient) -> None:
    answer = await client.post(SHORT, json=NOTIFICATION, headers=VIEWER.headers)
    assert answer.status_code == 403
    assert answer.json()["detail"] == (
        "This needs the role submitter; the key 'eyes' has the role viewer"
    )
    answer = await client.get(ROUTED, headers=SUBMITS.headers)
    assert answer.status_code == 403
    assert answer.json()["detail"] == (
        "This needs the role viewer; the key 'ci' has no role and may only submit"
    )


@pytest.mark.usefixtures("gate")
@pytest.mark.parametrize("content_length", [True, False])
@pytest.mark.parametrize(("path", "status"), [(SHORT, 401), ("/retry-task/x", 401)])
async def test_the_body_of_a_stranger_is_not_read(
    app: FastAPI, path: str, status: int, *, content_length: bool
) -> None:
    length = [(b"content-length", b"9000")] if content_length else []
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"service"), (b"content-type", b"application/json"), *length],
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        pytest.fail("the body is read")

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == status


@pytest.mark.parametrize("path", [SHORT, "/tasks", "/tasks/batch"])
async def test_a_key_that_ends_while_its_body_comes_changes_nothing(
    client: httpx.AsyncClient, gate: Gate, path: str
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"type": "notification", '
        gate.renew(ring_of(ADMIN))
        yield b'"payload": {}}'

    headers = {"Content-Type": "application/json", **SUBMITTER.headers}
    answer = await client.post(path, content=body(), headers=headers)
    assert answer.status_code == 401


async def test_while_the_keys_are_unknown_nobody_is_let_in(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    app.state.gate.renew(None)
    for path in (ROUTED, WITH_QUERY, "/openapi.json"):
        answer = await client.get(path, headers=ADMIN.headers)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
    for path in ("/healthz", "/readyz", "/dashboard/", "/"):
        assert (await client.get(path)).status_code == 200


async def test_where_no_key_is_required_none_is_looked_at(client: httpx.AsyncClient) -> None:
    answer = await client.post(SHORT, json=NOTIFICATION, headers={"Authorization": "Bearer x"})
    assert answer.status_code == 202


async def test_a_new_ring_counts_from_the_next_request_on(
    client: httpx.AsyncClient, gate: Gate
) -> None:
    for ring, status in [(ring_of(VIEWER), 404), (ring_of(ADMIN), 401), (NO_KEYS, 404)]:
        gate.renew(ring)
        assert (await client.get(ROUTED, headers=VIEWER.headers)).status_code == status


# -- the start -----------------------------------------------------------------------------------


async def _page(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("")


def _forgotten() -> Any:
    router = new_router("New")
    router.add_api_route("/new", _page)
    return router.routes[0]


@pytest.mark.parametrize(
    "route",
    [
        pytest.param(_forgotten(), id="no declaration"),
        pytest.param(PlainRoute("/old", _page), id="a route of Starlette's"),
        pytest.param(Mount("/files", StaticFiles(directory="/")), id="files"),
        pytest.param(Mount("/app", FastAPI()), id="another application"),
        pytest.param(PlainRoute("/to", RedirectResponse("/docs")), id="a redirect"),
    ],
)
def test_a_route_that_declares_nothing_ends_the_start(
    route: Any, service: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FastAPI(docs_url=None, redoc_url=None)
    surface: Any = type("Surface", (), {"router": type("Router", (), {"routes": [route]})})
    monkeypatch.setattr("afterwards.api.SURFACES", (*SURFACES, surface))
    with pytest.raises(TypeError, match="declares its role"):
        install(app, settings, HttpMetrics())


def test_pages_that_fastapi_adds_end_the_start(settings: Settings) -> None:
    for options in ({"docs_url": "/docs2"}, {"docs_url": None, "redoc_url": "/redoc"}):
        app = FastAPI(**{"redoc_url": None, **options})  # type: ignore[arg-type] # these members are texts or None
        with pytest.raises(TypeError, match="declares its role"):
            install(app, settings, HttpMetrics())


def test_a_declaration_on_what_asks_nobody_does_not_count() -> None:
    mount = Mount("/files", StaticFiles(directory="/"))
    mount.needs = object()  # type: ignore[attr-defined] # a mount has none
    with pytest.raises(TypeError, match="/files"):
        require_declared([mount])


# -- names of the service ------------------------------------------------------------------------

FOREIGN = {"Host": "evil.example"}


@pytest.mark.parametrize(
    ("names", "ring", "status"),
    [
        ((), ring_of(VIEWER), 404),
        (("service",), ring_of(VIEWER), 421),
        ((), NO_KEYS, 421),
        ((), None, 421),
    ],
)
async def test_any_name_will_do_where_keys_are_required_and_no_names_are_set(
    service: Any, names: tuple[str, ...], ring: Keyring | None, status: int
) -> None:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.state.service = service
    settings = Settings(_env_file=None, allowed_hosts=names)
    install(app, settings, HttpMetrics(), gate=Gate(ring))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get(ROUTED, headers={**VIEWER.headers, **FOREIGN})
    assert answer.status_code == status
