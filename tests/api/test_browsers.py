"""Requests that a browser sends for a stranger's page are refused; programs notice nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from afterwards.api.browsers import Browsers

pytestmark = pytest.mark.anyio


async def asked(
    headers: dict[str, str],
    method: str = "GET",
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
) -> httpx.Response:
    application: Any = PlainTextResponse("ours")
    transport = httpx.ASGITransport(Browsers(application, hosts, origins))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        return await client.request(method, "/tasks", headers=headers)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "[::1]", "10.1.2.3:1", "localhost",
     "LOCALHOST:99", "localhost.", "api:8000", "Api"],
)  # fmt: skip
async def test_addresses_and_own_names_are_served(host: str) -> None:
    assert (await asked({"Host": host}, hosts=["api"])).text == "ours"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "DELETE", "PUT"])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
     "api.evil.example", "evilapi", "", "[::1].evil.example", "127.0.0.1:x", "a@localhost"],
)  # fmt: skip
async def test_a_name_that_is_not_ours_is_misdirected(host: str, method: str) -> None:
    answer = await asked({"Host": host}, method, hosts=["api"])
    assert answer.status_code == 421
    if method != "HEAD":
        assert "AFTERWARDS_ALLOWED_HOSTS" in answer.json()["detail"]


async def test_a_refusal_shows_the_name_as_the_setting_takes_it() -> None:
    answer = await asked({"Host": "Tasks.example.org:8443"})
    assert "'tasks.example.org'" in answer.json()["detail"]


async def test_strangers_names_are_not_remembered() -> None:
    browsers = Browsers(PlainTextResponse("ours"), ["api"], ())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(browsers), base_url="http://api"
    ) as client:
        for number in range(20):
            await client.get("/tasks", headers={"Host": f"{number}.evil.example"})
            await client.get("/tasks", headers={"Host": f"{number}" * 60_000})
        await client.get("/tasks")
    assert browsers._known == {b"api"}


async def test_any_name_is_served_where_that_is_wished() -> None:
    assert (await asked({"Host": "evil.example"}, hosts=["*"])).status_code == 200


FOREIGN = ["https://evil.example", "null", "http://127.0.0.1:8001", "http://localhost:8000", "x"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_page_changes_nothing(origin: str, method: str) -> None:
    answer = await asked({"Origin": origin}, method)
    assert answer.status_code == 403
    assert "AFTERWARDS_CORS_ORIGINS" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("api", "https://API"),
        ("api:443", "https://api"),
    ],
)
async def test_a_page_of_our_own_changes_what_it_likes(host: str, origin: str) -> None:
    headers = {"Host": host, "Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert (await asked(headers, "POST", hosts=["api"])).text == "ours"


@pytest.mark.parametrize("mode", ["no-cors", "cors", "websocket", None])
async def test_nothing_is_read_across_sites(mode: str | None) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", **({"Sec-Fetch-Mode": mode} if mode else {})}
    assert (await asked(headers)).status_code == 403


async def test_a_link_leads_here_and_a_form_does_not() -> None:
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await asked(visit)).text == "ours"
    assert (await asked({**visit, "Sec-Fetch-Dest": "document"})).text == "ours"
    assert (await asked({**visit, "Sec-Fetch-Dest": "iframe"})).status_code == 403
    assert (await asked(visit, "POST")).status_code == 403
    assert (await asked({**visit, "Origin": "https://evil.example"}, "POST")).status_code == 403


@pytest.mark.parametrize("origins", [["https://friend.example"], ["*"]])
async def test_an_origin_that_is_allowed_may_do_everything(origins: list[str]) -> None:
    headers = {"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}
    assert (await asked(headers, "POST", origins=origins)).text == "ours"
    answer = await asked({**headers, "Origin": "https://evil.example"}, "POST", origins=origins)
    assert answer.status_code == (200 if origins == ["*"] else 403)


async def test_a_program_without_these_headers_is_served() -> None:
    assert (await asked({}, "POST")).text == "ours"
