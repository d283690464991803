"""The shop's web application and its relay, with a service that answers as a test says."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from standardwebhooks import Webhook

from afterwards_client import Client
from examples.shop.database import DECLINED, Database
from examples.shop.relay import relay

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
CARD = "4711"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A database with ten teas."""
    database = Database(tmp_path / "shop.sqlite3")
    with database.transaction() as connection:
        connection.execute("INSERT INTO products VALUES ('tea', 'acme', 'Tea', 450, 10)")
    return database


# -- the relay -------------------------------------------------------------------------------------

Answer = Callable[[httpx.Request], httpx.Response]


def accepted(request: httpx.Request) -> httpx.Response:
    """The answer to a submission: the task, as far as the client looks at it."""
    sent = json.loads(request.content)
    now = datetime.now(UTC).isoformat()
    nothing = ("error", "started_at", "finished_at", "result", "progress")
    document = {
        "id": str(uuid4()),
        "type": sent["type"],
        "status": "pending",
        "payload": sent["payload"],
        "created_at": now,
        "run_at": now,
        "attempts": 0,
        "retries": 0,
        "max_attempts": 3,
        "priority": 4,
        **dict.fromkeys(nothing),
    }
    return httpx.Response(202, json=document)


def service(answer: Answer, requests: list[httpx.Request]) -> Client:
    """A client whose requests are kept, and answered so."""

    def keep(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return answer(request)

    return Client("http://service", http=httpx.Client(transport=httpx.MockTransport(keep)))


def outbox(database: Database) -> list[str | None]:
    """The reasons why tasks were refused; None for those that wait."""
    return [row["refused"] for row in database.rows("SELECT refused FROM outbox ORDER BY rowid")]


def test_a_relay_that_dies_after_a_submission_leaves_it_to_the_next_under_the_same_key(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.place_order("a", "ann@example.com", CARD, {"tea": 1})
    requests: list[httpx.Request] = []
    with service(accepted, requests) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Client, "submit", dying_after(Client.submit))
            with pytest.raises(KeyboardInterrupt):
                relay(database, client)
        assert outbox(database) == [None]
        relay(database, client)
    assert outbox(database) == []
    first, second = requests
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.content == second.content
    assert json.loads(first.content)["labels"] == {"order": "1"}


def dying_after(submit: Callable[..., Any]) -> Callable[..., Any]:
    def submit_and_die(*arguments: Any, **options: Any) -> None:
        submit(*arguments, **options)
        raise KeyboardInterrupt

    return submit_and_die


def test_a_refused_task_says_why_and_holds_up_no_other(database: Database) -> None:
    for key in ("a", "b"):
        database.place_order(key, f"{key}@example.com", CARD, {"tea": 1})

    def answer(request: httpx.Request) -> httpx.Response:
        if b"a@example.com" in request.content:
            return httpx.Response(422, json={"detail": "no such card"})
        return accepted(request)

    requests: list[httpx.Request] = []
    with service(answer, requests) as client:
        relay(database, client)
        relay(database, client)
    assert outbox(database) == ["no such card"]
    assert len(requests) == 2


# -- the web application ---------------------------------------------------------------------------


class Browser:
    """Sends requests to the application, without a server."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._send("GET", path))

    def post(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._send("POST", path, **options))

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.request(method, path, **options)


@pytest.fixture
def web(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Browser:
    """The application on the database, without a service."""
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.sqlite3"))
    monkeypatch.setenv("SHOP_SERVICE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SHOP_SERVICE_TOKEN", "aw_unknown")
    monkeypatch.setenv("SHOP_WEBHOOK_SECRET", SECRET)
    module: ModuleType = importlib.import_module("examples.shop.web")
    # Imported once for all tests, with the settings of the first.
    monkeypatch.setattr(module, "DATABASE", database)
    return Browser(module.app)


def place_order(web: Browser, key: str, **items: int) -> httpx.Response:
    order = {"email": "ann@example.com", "card": CARD, "items": items}
    return web.post("/orders", json=order, headers={"Idempotency-Key": key})


def send_notice(web: Browser, secret: str, **task: Any) -> int:
    """Send what the service would send of a declined payment of order 1; give the status."""
    now = datetime.now(UTC)
    data = {"id": "7", "type": "shop.payment", "status": "failed", "labels": {"order": "1"}}
    event = {"type": "task.failed", "timestamp": now.isoformat(), "data": data}
    body = json.dumps(event)
    headers = {
        "webhook-id": "7_0_failed",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("7_0_failed", now, body),
    }
    return web.post("/notices", content=body, headers=headers).status_code


def test_an_order_is_placed_once_however_often_it_is_sent(web: Browser) -> None:
    first, second = place_order(web, "a", tea=2), place_order(web, "a", tea=2)
    assert first.status_code == second.status_code == 202
    assert first.json() == second.json() == {"number": 1}


def test_the_shop_says_why_it_refuses_an_order(web: Browser) -> None:
    refused = place_order(web, "a", tea=11)
    assert (refused.status_code, refused.json()) == (409, {"detail": "There are no 11 of tea"})
    missing = web.get("/orders/1")
    assert (missing.status_code, missing.json()) == (404, {"detail": "There is no order 1"})


def test_a_notice_that_comes_twice_is_news_once(web: Browser, database: Database) -> None:
    place_order(web, "a", tea=2)
    assert [send_notice(web, SECRET) for _ in range(2)] == [204, 204]
    assert web.get("/orders/1").json()["news"] == [DECLINED]
    assert database.rows("SELECT stock FROM products")[0]["stock"] == 10


def test_a_forged_notice_is_refused(web: Browser) -> None:
    place_order(web, "a", tea=2)
    assert send_notice(web, SECRET.replace("AAEC", "BAEC")) == 400
    assert web.get("/orders/1").json()["news"] == []
