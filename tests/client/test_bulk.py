"""Verbs for many tasks: what both clients send, and what they make of the answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from afterwards_client import BulkRetry, ConnectionFailed, UnexpectedAnswer
from tests.client.conftest import Handler
from tests.client.documents import bulk


def test_many_are_retried_as_is_said(client: Any, service: Handler) -> None:
    service.answer(200, bulk(matched=5, retried=3, skipped=2, more=True, later_member=1))
    after = datetime(2026, 11, 21, tzinfo=UTC)
    done = client.retry_many(
        type="report",
        status=("failed", "cancelled"),
        created_after=after,
        limit=5,
        payload={"a": 1},
        new_type="file",
    )
    assert done == BulkRetry(
        dry_run=False, matched=5, retried=3, skipped=2, more=True, interrupted=None
    )
    (request,) = service.requests
    assert (request.method, request.url.path) == ("POST", "/below/tasks/retry")
    assert json.loads(request.content) == {
        "type": "report",
        "status": ["failed", "cancelled"],
        "created_after": after.isoformat(),
        "limit": 5,
        "payload": {"a": 1},
        "new_type": "file",
        "dry_run": False,
    }


def test_many_are_cancelled_as_is_said(client: Any, service: Handler) -> None:
    service.answer(200, bulk(matched=3, cancelled=2, requested=1, interrupted="full"))
    before = datetime(2026, 11, 21, tzinfo=UTC)
    done = client.cancel_many(status="pending", created_before=before)
    assert (done.matched, done.cancelled, done.requested, done.interrupted) == (3, 2, 1, "full")
    (request,) = service.requests
    assert (request.method, request.url.path) == ("POST", "/below/tasks/cancel")
    assert json.loads(request.content) == {
        "status": ["pending"],
        "created_before": before.isoformat(),
        "dry_run": False,
    }


@pytest.mark.parametrize("verb", ["retry_many", "cancel_many"])
def test_a_bulk_verb_is_sent_again_only_if_it_counts(
    client: Any, service: Handler, verb: str
) -> None:
    service.answers = [httpx.ReadError("cut")]
    with pytest.raises(ConnectionFailed):
        getattr(client, verb)()
    service.answers = [httpx.ReadError("cut")]
    service.answer(200, bulk(dry_run=True, matched=7, retried=0, cancelled=0, requested=0))
    assert getattr(client, verb)(dry_run=True).matched == 7
    assert len(service.requests) == 3


def test_a_bulk_verb_may_take_its_time(client: Any, service: Handler) -> None:
    service.answer(200, bulk(retried=0))
    client.retry_many()
    assert service.requests[0].extensions["timeout"]["read"] == 65.0


def test_an_answer_that_says_less_is_unexpected(client: Any, service: Handler) -> None:
    service.answer(200, bulk())
    with pytest.raises(UnexpectedAnswer, match="retried"):
        client.retry_many()
