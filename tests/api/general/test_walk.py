"""A walk over all routes, as nobody and with each kind of key, by all spellings of their paths.

The needs of each route are written here once more, as docs have them, and not read from the routes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import pytest
from fastapi import FastAPI

from afterwards.access.roles import Grant, Role
from afterwards.api.routing import Route
from tests.access.holders import Holder, holder, ring_of

pytestmark = pytest.mark.anyio

ID: Final = "2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11"

PUBLIC: Final = {
    "GET /", "GET /healthz", "GET /readyz", "GET /dashboard", "GET /dashboard/{page:path}",
    "GET /dashboard/assets/{digest}/{name:path}", "GET /session", "POST /session",
    "DELETE /session",
}  # fmt: skip
LOOKS: Final = {
    "GET /docs", "GET /docs/assets/{name}", "GET /openapi.json", "GET /metrics", "GET /stats",
    "GET /stats/events", "GET /stats/series", "GET /status/{task_id}",
    "GET /task/{task_id}/status", "GET /tasks", "GET /tasks/count", "GET /tasks/{task_id}",
    "GET /tasks/{task_id}/events", "GET /events", "GET /task-types", "GET /task-types/{name}",
    "GET /schedules", "GET /schedules/{name}", "GET /workers", "GET /activity", "GET /errors",
    "GET /errors/{error_id}", "GET /groups/{group_id}", "GET /tasks/{task_id}/artifacts",
    "GET /tasks/{task_id}/artifacts/{name}",
}  # fmt: skip
SUBMITS: Final = {
    "POST /notify/", "POST /report/", "POST /file/", "POST /send-email",
    "POST /api/notifications/notify", "POST /tasks", "POST /tasks/batch",
}  # fmt: skip
OWN: Final = {
    "POST /tasks/{task_id}/cancel", "POST /tasks/{task_id}/retry", "POST /retry-task/{task_id}",
}  # fmt: skip
OPERATES: Final = {
    "POST /tasks/retry", "POST /tasks/cancel", "POST /tasks/run", "POST /tasks/delete",
    "POST /tasks/{task_id}/run", "PATCH /tasks/{task_id}", "DELETE /tasks/{task_id}",
    "POST /task-types/{name}/pause", "POST /task-types/{name}/resume", "PUT /schedules/{name}",
    "DELETE /schedules/{name}", "POST /schedules/{name}/pause", "POST /schedules/{name}/resume",
    "POST /schedules/{name}/run", "GET /webhooks", "GET /webhooks/{name}",
    "POST /webhooks/{name}/enable", "POST /webhooks/{name}/disable", "POST /webhooks/{name}/test",
    "POST /webhooks/{name}/replay",
}  # fmt: skip

ADMINISTERS: Final = {
    "GET /keys", "POST /keys", "POST /keys/{key_id}/rotate", "DELETE /keys/{key_id}", "GET /audit",
    "PUT /webhooks/{name}", "DELETE /webhooks/{name}", "POST /webhooks/{name}/secret",
}  # fmt: skip
TABLE: Final = (PUBLIC, LOOKS, SUBMITS, OWN, OPERATES, ADMINISTERS)
OTHER_METHODS: Final = (
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "QUERY",
)  # fmt: skip

PLACES: Final = {
    "{key_id}": "abcdef012345",
    "{task_id}": ID, "{group_id}": ID, "{name}": "note", "{error_id}": "5f0c9a1be27d4c83",
    "{digest}": "x", "{page:path}": "tasks", "{name:path}": "app.js",
}  # fmt: skip

NOBODY: Final = "nobody"
STRANGER: Final = "a stranger"
HOLDERS: Final[dict[str, Holder]] = {
    **{role.value: holder(role, role.value) for role in list(Role)[1:]},
    "submits": holder(None, "submits", grants=frozenset({Grant.SUBMIT})),
    "scrapes": holder(None, "scrapes", grants=frozenset({Grant.METRICS})),
    "nothing": holder(None, "nothing"),
}
ALL: Final = frozenset({NOBODY, STRANGER, *HOLDERS})
OPERATORS: Final = frozenset({"operator", "admin"})
SUBMITTERS: Final = OPERATORS | {"submitter"}
VIEWERS: Final = SUBMITTERS | {"viewer"}


def let_in(call: str) -> frozenset[str]:
    """Those who may call a route."""
    if call in PUBLIC:
        return ALL
    if call == "GET /metrics":
        return VIEWERS | {"scrapes"}
    if call in LOOKS:
        return VIEWERS
    if call in SUBMITS:
        return SUBMITTERS | {"submits"}
    if call in ADMINISTERS:
        return frozenset({"admin"})
    return SUBMITTERS if call in OWN else OPERATORS


@pytest.fixture
def walked(app: FastAPI) -> FastAPI:
    app.state.gate.renew(ring_of(*HOLDERS.values()))
    return app


class Call(NamedTuple):
    method: str
    path: str
    """As it is sent."""
    route: str
    """The route that it leads to, with its method; empty: none, or one without that method."""


def leads_to(method: str, path: str) -> str:
    """The route of the table that a path leads to, of those without a parameter the first."""
    known = set().union(*TABLE)
    if method == "HEAD" and f"POST {path}" in known and f"GET {path}" not in known:
        return ""  # HEAD is looked for on the first route of a path only
    for call in sorted(known, key=lambda one: one.count("{")):
        of_method, template = call.split()
        pattern = re.sub(r"{\w+:path}", ".*", template.rstrip("/"))
        pattern = re.sub(r"{\w+}", "[^/]+", pattern)
        if of_method == method.replace("HEAD", "GET") and re.fullmatch(f"{pattern}/?", path):
            return call
    return ""


def calls_of(route: Route) -> Iterator[Call]:
    """The calls of a route's path by its method, in several spellings, and by all others."""
    method = min(route.methods or ())
    template, path = route.path, route.path
    for place, value in PLACES.items():
        path = path.replace(place, value)
    name = f"{method} {template}"
    bare = path.rstrip("/")
    spelled = {bare or "/", f"{bare}/", encoded(path), encoded(path.rstrip("/") + "/")}
    methods = (method, "HEAD") if method == "GET" else (method,)
    for one, spelling in itertools.product(methods, spelled):
        yield Call(one, spelling, name)
    for other in OTHER_METHODS:
        yield Call(other, path, leads_to(other, path))


def encoded(path: str) -> str:
    """The path with a letter of each part as %xx, and its slashes as they are."""
    return "/".join(f"%{ord(part[0]):02x}{part[1:]}" if part else "" for part in path.split("/"))


async def ask(
    app: Any, method: str, sent: str, token: str | None
) -> tuple[int, dict[bytes, bytes]]:
    """The status and the headers of an answer, as a server asks that decodes paths as uvicorn."""
    raw, _, query = sent.partition("?")
    headers = [(b"host", b"service"), (b"content-type", b"application/json")]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote_to_bytes(raw).decode("latin-1"), "raw_path": raw.encode(),
        "query_string": query.encode(), "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("service", 80),
    }  # fmt: skip
    messages = iter([{"type": "http.request", "body": b"{}", "more_body": False}])
    answer: list[Any] = []

    async def receive() -> Any:
        # Whoever has opened a stream leaves at once.
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        answer.append(message)

    await app(scope, receive, send)
    return int(answer[0]["status"]), dict(answer[0]["headers"])


def askers() -> Iterator[tuple[str, str | None]]:
    yield NOBODY, None
    yield STRANGER, holder(Role.ADMIN).token
    for name, one in HOLDERS.items():
        yield name, one.token


ASKERS: Final = tuple(askers())


def routes_of(app: FastAPI) -> list[Route]:
    routes = [route for route in app.routes if isinstance(route, Route)]
    assert len(routes) == len(app.routes)
    return routes


async def test_every_route_is_in_the_table(app: FastAPI) -> None:
    named = {f"{method} {route.path}" for route in routes_of(app) for method in route.methods or ()}
    assert named == set().union(*TABLE)
    assert sum(map(len, TABLE)) == len(named)


async def test_each_route_is_for_whom_the_table_says_however_its_path_is_spelled(
    walked: FastAPI,
) -> None:
    wrong, number = [], 0
    for call in (call for route in routes_of(walked) for call in calls_of(route)):
        expected = let_in(call.route) if call.route else ALL
        for who, token in ASKERS:
            number += 1
            status, headers = await ask(walked, call.method, call.path, token)
            right = {401 if who in {NOBODY, STRANGER} else 403}
            if not call.route:
                right = {405}
            elif who in expected:
                right = {*range(200, 600)} - {401, 403, 405}
            if status not in right or (b"www-authenticate" in headers) is not (status == 401):
                wrong.append((call, who, status))
    assert wrong == []
    assert number > 5_000


WAYS_ROUND: Final = [
    "//tasks", "/./tasks", "/%2e/tasks", "/dashboard/../tasks", "/dashboard/%2e%2e/tasks",
    "/dashboard/..%2ftasks", "/docs/../tasks", "/healthz/../tasks", "/healthz%2f..%2ftasks",
    "/TASKS", "/Tasks", "/tasks;x=1", "/tasks%00", "/tasks%20", "/tasks%09", "/%00/tasks",
    "/tasks%3fstatus=failed", "/tasks%23", "/tasks//", "//healthz/../tasks", "/\\tasks",
    "/%5ctasks", "/tasks%0a", "/tasks\n", "/dashboard/assets/../../tasks", "http://x/tasks",
    "/tasks%ff", "/%252e%252e/tasks", "/docs/assets/../../../pyproject.toml",
    "/docs/assets/%2e%2e%2f%2e%2e%2fpyproject.toml", "/dashboard/assets/x/../../../../etc/passwd",
    f"/status/../tasks/{ID}", f"/tasks%2f{ID}", f"/tasks/{ID}%2fevents", f"/tasks/{ID}//events",
    f"/tasks/{ID}%2fcancel", "/tasks%2fcancel", "/tasks%2fbatch", "/metrics%2f", "/metrics/..",
]  # fmt: skip
"""Paths that a proxy, a server or a file system may take for another one."""


@pytest.mark.parametrize("path", WAYS_ROUND)
async def test_no_way_round_leads_a_stranger_to_more_than_the_dashboards_shell(
    walked: FastAPI, path: str
) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        status, headers = await ask(walked, method, path, None)
        is_page = headers.get(b"content-type", b"").startswith(b"text/html")
        is_shell = path.startswith("/dashboard/") and is_page and method in {"GET", "HEAD"}
        assert status in {401, 404, 405} or is_shell, (method, status)


async def test_the_shortcut_and_the_router_let_the_same_in(walked: FastAPI) -> None:
    """With a root path, everything goes through the router."""
    app = walked

    async def below(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": "/below", "path": f"/below{scope['path']}"}, receive, send)

    for route in routes_of(app):
        method = min(route.methods or ())
        path = route.path
        for place, value in PLACES.items():
            path = path.replace(place, value)
        for _, token in ASKERS:
            assert (await ask(app, method, path, token))[0] == (
                await ask(below, method, path, token)
            )[0], (method, path)
