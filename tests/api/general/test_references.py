"""The API under a prefix that a proxy takes off: every reference leads back under it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from afterwards.api.references import base_path, reference
from tests.api.general.conftest import NOTE, Hand
from tests.api.general.test_listing import walk

pytestmark = pytest.mark.anyio

PREFIX = "/tasks-service"


class Stripped:
    """A proxy with `location /tasks-service/ { proxy_pass http://api/; }`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"].startswith(f"{PREFIX}/"), f"{scope['path']} leads past the prefix"
        path = scope["path"].removeprefix(PREFIX)
        raw_path = scope["raw_path"].removeprefix(PREFIX.encode())
        await self._app({**scope, "path": path, "raw_path": raw_path}, receive, send)


@pytest.fixture
async def below(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API under the prefix."""
    transport = httpx.ASGITransport(Stripped(app))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://service{PREFIX}") as client:
        yield client


async def led_to(client: httpx.AsyncClient, answer: httpx.Response) -> httpx.Response:
    """The answer at the address in the header Location."""
    return await client.get(answer.url.join(answer.headers["location"]))


@pytest.mark.parametrize("slash", ["", "/"])
async def test_locations_lead_to_what_was_accepted(
    below: httpx.AsyncClient, hand: Hand, slash: str
) -> None:
    accepted = await below.post(f"/tasks{slash}", json=NOTE)
    task_id = accepted.json()["id"]
    assert (await led_to(below, accepted)).json()["id"] == task_id

    for path in (f"/tasks/{task_id}/retry", f"/retry-task/{task_id}"):
        hand.fail(hand.claim(task_id))
        retried = await below.post(f"{path}{slash}")
        assert retried.is_success
        assert task_id in (await led_to(below, retried)).text

    schedule = {**NOTE, "every_seconds": 60}
    made = await below.put(f"/schedules/daily{slash}", json=schedule)
    assert made.status_code == 201, made.text
    assert (await led_to(below, made)).json()["name"] == "daily"


async def test_links_lead_through_all_pages(below: httpx.AsyncClient) -> None:
    for _ in range(5):
        await below.post("/tasks", json=NOTE)
    for path in ("/tasks?limit=2", "/tasks/?limit=2"):
        assert [len(page) for page in await walk(below, path)] == [2, 2, 1]


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
async def test_the_documentation_page_finds_its_files(below: httpx.AsyncClient, path: str) -> None:
    page = await below.get(path)
    found = re.findall(r"""(?:href|src)="([^"]+)"|url: '([^']+)'""", page.text)
    references = [one or other for one, other in found]
    assert len(references) == 4
    for one in references:
        assert (await below.get(page.url.join(one))).status_code == 200


async def test_a_browser_is_led_to_the_page(below: httpx.AsyncClient) -> None:
    answer = await below.get("/", headers={"Accept": "text/html"})
    assert (await led_to(below, answer)).status_code == 200


async def test_what_has_no_request_to_be_relative_to_names_the_prefix_that_is_set(
    below: httpx.AsyncClient, app: FastAPI
) -> None:
    assert "servers" not in (await below.get("/openapi.json")).json()
    app.state.root_path = PREFIX
    assert (await below.get("/openapi.json")).json()["servers"] == [{"url": PREFIX}]
    links = (await below.get("/")).json()
    for name in ("docs", "openapi", "metrics"):
        assert links[name].startswith(f"{PREFIX}/")
    problem = (await below.get("/nothing")).json()
    assert (problem["type"], "instance" in problem) == ("about:blank", False)
    assert problem["detail"] == (
        f"There is nothing at {PREFIX}/nothing; {PREFIX}/docs lists what there is"
    )


def scope(path: str, **more: Any) -> Scope:
    return {"type": "http", "path": path, "raw_path": path.encode(), **more}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("/notify", "status/x"),
        ("/notify/", "../status/x"),
        ("/api/notifications/notify", "../../status/x"),
        ("/api%2Fnotifications/notify", "../status/x"),
    ],
)
def test_a_reference_goes_up_from_the_path_as_it_was_sent(own: str, expected: str) -> None:
    assert reference(scope(own), "/status/x") == expected
    assert httpx.URL(f"http://h{PREFIX}{own}").join(expected).path == f"{PREFIX}/status/x"


def test_a_server_s_own_root_path_is_part_of_the_path_and_no_step_up() -> None:
    below = scope("/a/b/notify/", root_path="/a/b")
    assert reference(below, "/status/x") == "../status/x"
    assert base_path(Request(below)) == "/a/b"
