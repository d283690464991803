"""No text that a client sends takes more than linear time on the event loop, whatever is in it."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import pytest
from fastapi import FastAPI

from afterwards import task_types
from afterwards.api import install
from afterwards.api.http_metrics import HttpMetrics
from afterwards.service.service import TaskService
from afterwards.settings import Settings
from afterwards.task_types.description import Catalogue, in_process
from tests.api.general.moments import moment_seconds

KIB: Final = 1024
HEADER_BYTES: Final = 64 * KIB
NUMBERS_BYTES: Final = 120 * KIB
"""So much is read beside the event loop; `test_holding` has bodies at their limit."""
FIELD_BYTES: Final = (64 * KIB, 1024 * KIB)
ROOMY_BYTES: Final = 4096 * KIB
"""A body's limit that lets the larger fields, and twice as much, through to their own limits."""
TRIES: Final = 5
NOISE_SECONDS: Final = 0.002

FORMS: Final[dict[str, Callable[[int], str]]] = {
    "spaces, then a quote": lambda n: "wait=" + " " * n + '"x',
    "spaces around an equals sign": lambda n: "wait" + " " * (n // 2) + "=" + " " * (n // 2),
    "commas": lambda n: "," * n,
    "preferences": lambda n: 'a="b",' * (n // 6),
    "quotes": lambda n: '"' * n,
    "backslashes": lambda n: '"' + "\\" * n,
    "escaped quotes": lambda n: '"' + '\\"' * (n // 2),
    "semicolons": lambda n: "a" + "; " * (n // 2),
    "digits": lambda n: "1" * n,
    "letters": lambda n: "a" * n,
    "dots": lambda n: "a." * (n // 2),
    "pluses": lambda n: "application/" + "+" * n,
    "stars": lambda n: "*/" * (n // 2),
}
"""Texts of about so many ASCII characters."""

WIDE_FORMS: Final[dict[str, Callable[[int], str]]] = {
    "combining marks": lambda n: "a" + "\u0301\u0327" * (n // 4) + "@example.com",
    "line ends": lambda n: "\u2028" * (n // 3),
    "labels": lambda n: "a@" + "xn--a." * (n // 6) + "com",
    "ideographic dots": lambda n: "a@" + "\u3002" * (n // 3),
}
"""Texts of about so many bytes."""

HEADERS: Final = (
    "Prefer", "Idempotency-Key", "If-None-Match", "Content-Type", "X-Request-ID", "Last-Event-ID",
    "Expect", "Origin", "Host", "Accept", "Content-Encoding", "Task-Labels",
)  # fmt: skip
QUERIES: Final = (
    "wait", "cursor", "created_after", "status", "type", "limit", "last_event_id", "label", "q",
    "order",
)  # fmt: skip

BODIES: Final[dict[str, Callable[[Any], tuple[str, str, Any]]]] = {
    "type": lambda text: ("POST", "/tasks", {"type": text, "payload": {}}),
    "address": lambda text: ("POST", "/notify/", {"email": text, "message": "Hello"}),
    "message": lambda text: ("POST", "/notify/", {"email": "a@example.com", "message": text}),
    "subject": lambda text: (
        "POST", "/send-email", {"email": "a@example.com", "subject": text, "body": "x"},
    ),
    "body": lambda text: (
        "POST", "/send-email", {"email": "a@example.com", "subject": "x", "body": text},
    ),
    "report": lambda text: ("POST", "/report/", {"name": text, "details": {text: text[:9]}}),
    "time": lambda text: ("POST", "/tasks", {"type": "report", "run_at": text}),
    "cron": lambda text: ("PUT", "/schedules/a", {"type": "report", "cron": text}),
    "timezone": lambda text: (
        "PUT", "/schedules/a", {"type": "report", "cron": "* * * * *", "timezone": text},
    ),
}  # fmt: skip

CRON_EXPRESSIONS: Final = (
    "0 0 * 2 1#5", "0 0 29 2 */7", "0 0 */31 * 1#5", "* 2 * 3 0#2", "0 0 30 2 *",
    ",".join(["0-59"] * 36) + " 0 * 2 1#5", "0 0 " + ",".join(["*"] * 92) + " 2 1#5",
    "59 23 31 12 " + ",".join(["1#5"] * 46),
)  # fmt: skip
"""Expressions for days that come every 28 years or never, as long as they may be."""

JSON: Final = ((b"content-type", b"application/json"),)

NUMBERS: Final = ("5.0", "1e308", "-0.0", "0.1", "1e21", "12345678901234567890")


pytestmark = [pytest.mark.anyio, pytest.mark.measures, pytest.mark.timeout(120)]


@pytest.fixture
def catalogue() -> Catalogue:
    return in_process(task_types.CATALOGUE)


async def seconds_of(
    app: FastAPI,
    method: str,
    path: str,
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    query: bytes = b"",
    body: bytes = b"",
    tries: int = 1,
) -> float:
    """The time that a request costs the event loop's thread, at best of so many tries."""
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": query, "root_path": "",
        "headers": [(b"host", b"x"), *headers], "client": ("127.0.0.1", 1), "server": ("x", 80),
    }  # fmt: skip
    best = 1e9
    for _ in range(tries):
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive(parts: Iterator[dict[str, Any]] = parts) -> dict[str, Any]:
            return next(parts, {"type": "http.disconnect"})

        async def send(_message: Any) -> None:
            pass

        started = time.thread_time()
        await app({**scope}, receive, send)
        best = min(best, time.thread_time() - started)
    return best


async def require_linear(form: str, cost: Callable[[int], Awaitable[float]], size: int) -> None:
    """Compare the best of several tries, in turn: what disturbs one size disturbs the other too."""
    once = twice = 1e9
    for _ in range(TRIES):
        once = min(once, await cost(size))
        twice = min(twice, await cost(2 * size))
        if twice <= 2 * once + NOISE_SECONDS:
            # Plainly linear: half of a square would have to be noise.
            return
    assert twice <= 3 * once + NOISE_SECONDS, (
        f"{form}, {size // KIB} KiB: {once * 1e3:.1f} ms, doubled {twice * 1e3:.1f} ms"
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", HEADERS)
async def test_a_header(app: FastAPI, name: str, form: str) -> None:
    async def cost(size: int) -> float:
        header = (name.lower().encode(), FORMS[form](size).encode("latin-1"))
        return (
            await seconds_of(app, "POST", "/tasks", headers=[header])
            + await seconds_of(app, "POST", "/api/notifications/notify", headers=[header])
            + await seconds_of(
                app, "GET", "/tasks/2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11", headers=[header]
            )
        )

    await require_linear(form, cost, HEADER_BYTES // 2)


@pytest.mark.parametrize("form", FORMS)
async def test_a_query_or_a_path(app: FastAPI, form: str) -> None:
    async def cost(size: int) -> float:
        text = quote(FORMS[form](size // 3), safe="")
        total = 0.0
        for name in QUERIES:
            query = f"{name}={text}".encode()
            total += await seconds_of(app, "GET", "/tasks", query=query)
            total += await seconds_of(app, "GET", "/events", query=query + b"&x=1")
        for place in ("tasks", "schedules", "task-types", "status"):
            total += await seconds_of(app, "GET", f"/{place}/{text}")
        return total

    await require_linear(form, cost, HEADER_BYTES // 2)


async def cost_of_a_text(app: FastAPI, field: str, form: str, size: int) -> float:
    text = (FORMS | WIDE_FORMS)[form](size)
    method, path, document = BODIES[field](text)
    body = json.dumps(document, ensure_ascii=False).encode()
    return await seconds_of(app, method, path, headers=JSON, body=body)


@pytest.fixture
def roomy(service: TaskService, catalogue: Catalogue) -> FastAPI:
    """The application, whose bodies may be large."""
    app = FastAPI(docs_url=None, redoc_url=None)
    app.state.service = service
    settings = Settings(_env_file=None, allowed_hosts=("x",), max_body_bytes=ROOMY_BYTES)
    install(app, settings, HttpMetrics(), catalogue)
    return app


@pytest.mark.parametrize("form", [*FORMS, *WIDE_FORMS])
@pytest.mark.parametrize("field", BODIES)
async def test_a_text_in_a_body(roomy: FastAPI, field: str, form: str) -> None:
    for size in FIELD_BYTES:
        await require_linear(form, partial(cost_of_a_text, roomy, field, form), size)


@pytest.mark.parametrize("field", BODIES)
async def test_a_text_in_a_body_that_is_too_large(app: FastAPI, field: str) -> None:
    for form in FORMS | WIDE_FORMS:
        await require_linear(form, partial(cost_of_a_text, app, field, form), FIELD_BYTES[-1])


@pytest.mark.parametrize("timezone", ["UTC", "America/New_York", "Africa/Casablanca"])
@pytest.mark.parametrize("expression", CRON_EXPRESSIONS)
async def test_a_cron_expression_however_rare_its_times(
    app: FastAPI, expression: str, timezone: str
) -> None:
    payload = {"name": "x", "details": {}}
    document = {"type": "report", "payload": payload, "cron": expression, "timezone": timezone}
    body = json.dumps(document).encode()

    put = await seconds_of(app, "PUT", "/schedules/a", headers=JSON, body=body, tries=TRIES)
    get = await seconds_of(app, "GET", "/schedules/a", tries=TRIES)
    assert max(put, get) < moment_seconds()


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("path", ["/tasks", "/report/"])
async def test_numbers_in_a_body_under_a_key(app: FastAPI, path: str, number: str) -> None:
    headers = [*JSON, (b"idempotency-key", b"k")]

    async def cost(size: int) -> float:
        numbers = "[" + ",".join([number] * (size // (len(number) + 1))) + "]"
        details = f'{{"name": "x", "details": {{"numbers": {numbers}}}}}'
        text = details if path == "/report/" else f'{{"type": "report", "payload": {details}}}'
        return await seconds_of(app, "POST", path, headers=headers, body=text.encode())

    await require_linear(number, cost, NUMBERS_BYTES)
