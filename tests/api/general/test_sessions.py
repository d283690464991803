"""`/session`: opened with a key, shown by a cookie, ended by hand or with its key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.access.keyring import Keyring
from afterwards.access.roles import Grant, Role
from afterwards.access.tokens import digest_of
from afterwards.api.authorise import Gate
from afterwards.api.cookies import NAME
from afterwards.api.login_limit import BURST
from afterwards.api.schemas.sessions import SessionDocument
from afterwards.api.sessions import SESSION_SECONDS
from afterwards.registry.client.ring import Ring
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.key_requests import CreateKey, KeysOff, RevokeKey
from tests.access.holders import Holder, holder
from tests.events.conftest import until
from tests.registry.peers import ask

pytestmark = pytest.mark.anyio

PAGE = {"Origin": "http://service", "Sec-Fetch-Site": "same-origin"}
"""The headers of a browser for a page of this host."""
ANN = By("ann", "r-1", "192.0.2.7")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def ring(gate: Gate) -> Ring:
    return Ring(gate.renew)


@pytest.fixture
def app(app: FastAPI, gate: Gate) -> FastAPI:
    app.state.gate = gate
    return app


async def has(registry: MemoryRegistry, gate: Gate, **changes: Any) -> Holder:
    """The holder of a key that the worker knows."""
    one = holder(**{"role": Role.OPERATOR, "name": "ann", **changes})
    ask(registry, CreateKey(one.key))
    await until(lambda: gate.bearer(one.token.encode()) is not None, "the key is known")
    return one


@pytest.fixture
async def ann(registry: MemoryRegistry, gate: Gate, api: httpx.AsyncClient) -> Holder:
    return await has(registry, gate)


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(
        transport=transport,
        base_url="https://service",
        headers=PAGE | {"Origin": "https://service"},
    ) as client:
        yield client


async def log_in(browser: httpx.AsyncClient, token: str, **headers: str) -> httpx.Response:
    return await browser.post("/session", json={"token": token}, headers=headers)


def cookie_of(answer: httpx.Response) -> Morsel[str]:
    return SimpleCookie(answer.headers["set-cookie"])[NAME]


async def test_a_key_is_exchanged_for_a_cookie_that_stands_for_it(
    browser: httpx.AsyncClient, ann: Holder, gate: Gate
) -> None:
    answer = await log_in(browser, ann.token)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    SessionDocument.model_validate_json(answer.content, strict=True)
    cookie = cookie_of(answer)
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Strict", True)
    assert (cookie["path"], cookie["max-age"], cookie["domain"]) == ("/", str(SESSION_SECONDS), "")
    assert ann.token not in answer.text
    assert cookie.value not in answer.text

    assert (await browser.get("/stats")).status_code == 200
    shown = await browser.get("/session")
    assert shown.json() == answer.json()
    assert shown.json()["key"] == {
        "id": ann.key.id, "name": "ann", "role": "operator", "grants": [], "types": None,
        "labels": None, "payloads": True, "expires_at": None,
    }  # fmt: skip
    assert ann.key.id in gate.used


async def test_a_client_that_shows_nothing_is_told_whether_a_key_is_required(
    api: httpx.AsyncClient, gate: Gate, registry: MemoryRegistry
) -> None:
    assert (await api.get("/session")).json() == {
        "keys_required": False, "key": None, "ends_at": None,
    }  # fmt: skip
    assert (await log_in(api, "aw_")).status_code == 409
    await has(registry, gate)
    assert (await api.get("/session")).json()["keys_required"] is True


async def test_a_client_that_shows_a_key_is_told_of_it(api: httpx.AsyncClient, ann: Holder) -> None:
    found = (await api.get("/session", headers=ann.headers)).json()
    assert (found["key"]["name"], found["ends_at"]) == ("ann", None)


async def test_every_login_opens_a_session_of_its_own(
    browser: httpx.AsyncClient, ann: Holder
) -> None:
    browser.cookies.set(NAME, "chosen-by-somebody-else")
    first = cookie_of(await log_in(browser, ann.token)).value
    browser.cookies.clear()
    browser.cookies.set(NAME, first)
    second = cookie_of(await log_in(browser, ann.token)).value
    assert len({first, second, "chosen-by-somebody-else"}) == 3


async def test_a_session_ends_by_hand_with_its_streams_and_not_with_those_of_others(
    browser: httpx.AsyncClient, ann: Holder, gate: Gate
) -> None:
    other = cookie_of(await log_in(browser, ann.token)).value
    browser.cookies.clear()
    await log_in(browser, ann.token)
    stream = asyncio.create_task(browser.get("/stats/events"))
    await until(lambda: bool(gate.lapses._watched), "the stream is open")

    answer = await browser.delete("/session", headers=PAGE | {"Origin": "https://service"})
    assert answer.status_code == 204
    assert cookie_of(answer)["max-age"] == "0"
    assert "event: end" in (await asyncio.wait_for(stream, 5)).text
    assert (await browser.delete("/session")).status_code == 204
    for cookie, status in ((None, 401), (other, 200)):
        browser.cookies.clear()
        if cookie is not None:
            browser.cookies.set(NAME, cookie)
        assert (await browser.get("/stats")).status_code == status
    assert (await browser.get("/stats", headers=ann.headers)).status_code == 200


async def test_a_cookie_that_was_logged_out_is_refused_by_name(
    browser: httpx.AsyncClient, ann: Holder, gate: Gate
) -> None:
    cookie = cookie_of(await log_in(browser, ann.token)).value
    await browser.delete("/session")
    await until(lambda: gate.living(digest_of(cookie.encode())) is None, "the end is known")
    browser.cookies.set(NAME, cookie)
    answer = await browser.get("/stats")
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The session has ended; log in again"


async def test_a_revoked_key_ends_its_sessions(
    browser: httpx.AsyncClient, ann: Holder, gate: Gate, registry: MemoryRegistry
) -> None:
    await log_in(browser, ann.token)
    stream = asyncio.create_task(browser.get("/stats/events"))
    await until(lambda: bool(gate.lapses._watched), "the stream is open")
    ask(registry, RevokeKey(ann.key.id, ANN))
    assert "event: end" in (await asyncio.wait_for(stream, 5)).text
    assert (await browser.get("/stats")).status_code == 401
    assert (await browser.get("/session")).json()["key"] is None


async def test_a_session_lasts_no_longer_than_its_key(
    browser: httpx.AsyncClient, registry: MemoryRegistry, gate: Gate
) -> None:
    short = await has(registry, gate, expires_at=time.time() + 60)
    assert int(cookie_of(await log_in(browser, short.token))["max-age"]) <= 60


async def test_unknown_ids_wrong_secrets_and_no_tokens_at_all_get_one_answer(
    browser: httpx.AsyncClient, ann: Holder, registry: MemoryRegistry, gate: Gate
) -> None:
    revoked = await has(registry, gate, name="former")
    ask(registry, RevokeKey(revoked.key.id, ANN))
    await until(lambda: gate.bearer(revoked.token.encode()) is None, "the end is known")
    wrong = ann.token[:-1] + ("A" if ann.token[-1] != "A" else "B")
    answers = [
        await log_in(browser, token)
        for token in (wrong, holder(Role.ADMIN).token, revoked.token, "", "é\x00")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert not any("set-cookie" in answer.headers for answer in answers)


async def test_an_address_that_fails_often_has_to_wait_and_others_do_not(
    browser: httpx.AsyncClient, api: httpx.AsyncClient, ann: Holder
) -> None:
    for _ in range(BURST):
        assert (await log_in(browser, "aw_")).status_code == 401
    answer = await log_in(browser, ann.token)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 6
    assert (await log_in(api, ann.token)).status_code == 201


@pytest.mark.usefixtures("ann")
async def test_a_key_without_a_role_has_nothing_to_see(
    browser: httpx.AsyncClient, registry: MemoryRegistry, gate: Gate
) -> None:
    builds = await has(registry, gate, name="builds", role=None, grants=frozenset({Grant.SUBMIT}))
    answer = await log_in(browser, builds.token)
    assert answer.status_code == 403
    assert answer.json()["detail"] == (
        "The dashboard needs the role viewer; the key 'builds' has no role and may only submit"
    )


STRANGERS = [
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://service:8443", "Sec-Fetch-Site": "same-site"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("said", [*STRANGERS, {}])
@pytest.mark.parametrize(("method", "path"), [("POST", "/tasks/x/cancel"), ("DELETE", "/session")])
async def test_a_cookie_changes_nothing_unless_a_page_of_this_host_has_sent_it(
    browser: httpx.AsyncClient, ann: Holder, said: dict[str, str], method: str, path: str
) -> None:
    await log_in(browser, ann.token)
    for name in PAGE:
        del browser.headers[name]
    answer = await browser.request(method, path, headers=said)
    assert answer.status_code in (401, 403)
    assert (await browser.get("/stats")).status_code == 200


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 401),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}, 200),
        (
            {
                "Sec-Fetch-Site": "same-site",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "iframe",
            },
            401,
        ),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 401),
    ],
)
async def test_a_cookie_reads_nothing_for_the_page_of_a_neighbour(
    browser: httpx.AsyncClient, ann: Holder, said: dict[str, str], status: int
) -> None:
    await log_in(browser, ann.token)
    for name in PAGE:
        del browser.headers[name]
    assert (await browser.get("/stats", headers=said)).status_code == status


@pytest.mark.parametrize("said", STRANGERS)
async def test_nobody_is_logged_in_by_the_page_of_a_stranger(
    browser: httpx.AsyncClient, ann: Holder, said: dict[str, str]
) -> None:
    for name in PAGE:
        del browser.headers[name]
    answer = await log_in(browser, ann.token, **said)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_two_cookies_are_none_and_a_shown_key_decides_alone(
    browser: httpx.AsyncClient, ann: Holder
) -> None:
    cookie = cookie_of(await log_in(browser, ann.token)).value
    browser.cookies.clear()
    twice = {"Cookie": f"{NAME}={cookie}; {NAME}={cookie}"}
    assert (await browser.get("/stats", headers=twice)).status_code == 401
    among = {"Cookie": f"theme=dark; {NAME}={cookie};other"}
    assert (await browser.get("/stats", headers=among)).status_code == 200
    wrong = {**among, "Authorization": "Bearer aw_"}
    assert (await browser.get("/stats", headers=wrong)).status_code == 401


@pytest.mark.parametrize(
    ("host", "is_secure"),
    [
        ("localhost:8000", False),
        ("127.0.0.1", False),
        ("[::1]:8000", False),
        ("service", True),
        ("192.0.2.7:8000", True),
        ("x", True),
    ],
)
async def test_the_cookie_is_secure_unless_the_host_is_loopback(
    api: httpx.AsyncClient, ann: Holder, host: str, *, is_secure: bool
) -> None:
    answer = await log_in(api, ann.token, Host=host)
    assert bool(cookie_of(answer)["secure"]) is is_secure


async def test_the_cookie_is_for_the_prefix_of_the_service_alone(
    app: FastAPI, api: httpx.AsyncClient, ann: Holder
) -> None:
    app.state.root_path = "/tasks-service"
    assert cookie_of(await log_in(api, ann.token))["path"] == "/tasks-service"


async def test_logins_and_logouts_are_in_the_audit_and_no_secret_is(
    browser: httpx.AsyncClient, registry: MemoryRegistry, gate: Gate
) -> None:
    root = await has(registry, gate, name="root", role=Role.ADMIN)
    cookie = cookie_of(await log_in(browser, root.token)).value
    await browser.delete("/session")
    answer = await browser.get("/audit", headers=root.headers)
    told = [
        (entry["verb"], entry["object"], entry["name"], entry["actor"], entry["address"])
        for entry in answer.json()["entries"]
    ]
    assert told == [
        ("end", "session", "root", "root", "192.0.2.7"),
        ("open", "session", "root", "root", "192.0.2.7"),
    ]
    assert cookie not in answer.text


async def test_a_session_needs_no_longer_a_key_when_none_does(
    browser: httpx.AsyncClient, ann: Holder, registry: MemoryRegistry, gate: Gate
) -> None:
    await log_in(browser, ann.token)
    ask(registry, KeysOff(ANN))
    await until(lambda: gate.is_open, "no key is required")
    assert (await browser.get("/session")).json()["key"] is None
    assert (await browser.get("/stats")).status_code == 200


def test_a_ring_knows_no_session_of_a_key_that_is_gone() -> None:
    assert Keyring(1, required=True).living(b"x", 0.0) is None
