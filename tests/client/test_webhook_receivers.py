"""The receivers of webhooks in `docs/client.md`, run as they are."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
SECTION = PAGE.partition("## Receive webhooks\n")[2].partition("\n## ")[0]
FASTAPI, WSGI = re.findall(r"^```py\n(.+?)^```$", SECTION, re.MULTILINE | re.DOTALL)
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = json.dumps(
    {
        "type": "task.failed",
        "timestamp": "2026-11-28T10:00:00.250Z",
        "data": {"id": "463a6064-7979-4e48-ae70-1c6ccfd5b41f", "error": "no such mailbox"},
    }
)

Post = Callable[..., httpx.Response]


def run(example: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(example, "docs/client.md", "exec"), names)
    return names


def post_to_fastapi(app: Any, body: str, headers: dict[str, str]) -> httpx.Response:
    async def posted() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
            return await client.post("/finished", content=body, headers=headers)

    return asyncio.run(posted())


@pytest.fixture(params=["fastapi", "wsgi"])
def post(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Post:
    """Sends a body to one of the receivers."""
    if request.param == "fastapi":
        return partial(post_to_fastapi, run(FASTAPI, monkeypatch)["app"])
    transport = httpx.WSGITransport(app=run(WSGI, monkeypatch)["application"])

    def posted(body: str, headers: dict[str, str]) -> httpx.Response:
        with httpx.Client(transport=transport, base_url="http://receiver") as client:
            return client.post("/finished", content=body, headers=headers)

    return posted


def signed(body: str, age_seconds: int = 0) -> dict[str, str]:
    now = int(datetime.now(UTC).timestamp()) - age_seconds
    return {
        "webhook-id": "463a6064-7979-4e48-ae70-1c6ccfd5b41f_0_failed",
        "webhook-timestamp": str(now),
        "webhook-signature": Webhook(SECRET).sign("463a6064-7979-4e48-ae70-1c6ccfd5b41f_0_failed",
                                                  datetime.fromtimestamp(now, UTC), body),
    }  # fmt: skip


def test_a_signed_request_is_taken(post: Post, capsys: pytest.CaptureFixture[str]) -> None:
    assert post(BODY, signed(BODY)).status_code == 204
    assert "no such mailbox" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "the header webhook-id is missing"),
        (signed(BODY + " "), "no signature fits"),
        (signed(BODY, 3600), "it was sent 3600 s ago"),
    ],
)
def test_any_other_is_answered_400_with_the_reason(
    post: Post, headers: dict[str, str], reason: str
) -> None:
    refused = post(BODY, headers)
    assert refused.status_code == 400
    assert reason.partition("3600")[0] in refused.text


def test_what_is_sent_twice_is_done_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = run(FASTAPI, monkeypatch)["app"]
    for _ in range(2):
        assert post_to_fastapi(app, BODY, signed(BODY)).status_code == 204
    assert capsys.readouterr().out.count("failed:") == 1
