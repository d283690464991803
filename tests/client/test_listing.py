"""Lists and counts: what both clients ask for, page by page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from afterwards_client import Scan, TaskCount, TaskSummary
from tests.client.conftest import Handler
from tests.client.documents import AT, ID, summary, task

SCAN = {"examined": 700, "reached": AT, "complete": False}


def page(*tasks: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"tasks": list(tasks), "next": None, "scan": None, **members}


def test_a_list_is_asked_for_with_all_its_conditions(client: Any, service: Handler) -> None:
    service.answer(200, page())
    at = datetime(2026, 11, 21, tzinfo=UTC)
    conditions = {
        "status": ["failed", "retrying"],
        "type": ("report", "file"),
        "labels": {"tenant": "acme", "plan": None},
        "q": "payload.a=1",
        "error": "5f0c9a1be27d4c83",
        "created_before": at,
        "finished_after": at,
        "finished_before": at,
    }
    assert list(client.list(order="finished", limit=7, **conditions)) == []
    assert service.requests[0].url.params.multi_items() == [
        ("status", "failed"),
        ("status", "retrying"),
        ("type", "report"),
        ("type", "file"),
        ("q", "payload.a=1"),
        ("error", "5f0c9a1be27d4c83"),
        ("created_before", at.isoformat()),
        ("finished_after", at.isoformat()),
        ("finished_before", at.isoformat()),
        ("label", "tenant=acme"),
        ("label", "plan"),
        ("order", "finished"),
        ("limit", "7"),
    ]


def test_what_is_no_condition_is_refused_before_it_is_sent(client: Any, service: Handler) -> None:
    for ask in (client.list, client.summaries, client.count, client.page):
        with pytest.raises(TypeError, match="'state' is no condition"):
            list(ask(state="failed"))
    assert service.requests == []


def test_a_page_that_is_empty_does_not_end_a_list(client: Any, service: Handler) -> None:
    service.answer(200, page(next="x", scan=SCAN))
    service.answer(200, page(task(id="b"), next="y", scan=SCAN))
    service.answer(200, page(next="z", scan=SCAN))
    service.answer(200, page(task(id="a"), scan={**SCAN, "complete": True}))
    assert [one.id for one in client.list(q="needle", limit=3)] == ["b", "a"]
    asked = [(r.url.params.get("cursor"), r.url.params["limit"]) for r in service.requests]
    assert asked == [(None, "3"), ("x", "3"), ("y", "2"), ("z", "2")]


def test_summaries_have_the_beginning_of_the_payload(client: Any, service: Handler) -> None:
    service.answer(200, page(summary(), next="x"))
    service.answer(200, page(summary(status="failed", error="no", retrying=True)))
    first, second = client.summaries(status="failed")
    assert isinstance(first, TaskSummary)
    assert (first.id, first.digest) == (ID, '{"email":"a@example.com"')
    assert (second.status, second.error, second.retrying) == ("failed", "no", True)
    assert {request.url.params["summary"] for request in service.requests} == {"true"}


def test_a_page_says_where_the_next_is_and_how_far_a_scan_came(
    client: Any, service: Handler
) -> None:
    service.answer(200, page(next="x", scan=SCAN))
    service.answer(200, page(task(), scan={**SCAN, "reached": None, "complete": True}))
    first = client.page(q="needle")
    assert (first.tasks, first.next) == ([], "x")
    assert first.scan == Scan(700, datetime.fromisoformat(AT), complete=False)
    second = client.page(q="needle", limit=5, cursor="x", order="due")
    assert ([one.id for one in second.tasks], second.next) == ([ID], None)
    assert second.scan == Scan(700, None, complete=True)
    asked = [dict(request.url.params) for request in service.requests]
    assert asked == [
        {"q": "needle", "limit": "50"},
        {"q": "needle", "limit": "5", "cursor": "x", "order": "due"},
    ]


def test_a_service_that_does_not_scan_yet_is_understood(client: Any, service: Handler) -> None:
    service.answer(200, {"tasks": [], "next": None})
    assert client.page().scan is None


def test_tasks_are_counted_by_the_same_conditions(client: Any, service: Handler) -> None:
    service.answer(200, {"count": 10_000, "exact": False})
    assert client.count(status="failed", labels={"tenant": "acme"}) == TaskCount(
        10_000, exact=False
    )
    (request,) = service.requests
    assert request.url.path == "/below/tasks/count"
    assert dict(request.url.params) == {"status": "failed", "label": "tenant=acme"}
