"""Schedules: what both clients send, and what they make of the answers."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from afterwards_client import (
    ConnectionFailed,
    DueTask,
    InvalidArgument,
    NewSchedule,
    NotFound,
    TaskStatus,
    UnexpectedAnswer,
)
from tests.client.conftest import Handler
from tests.client.documents import AT, ID, problem, schedule, task


def test_a_schedule_is_put_as_it_is_said(client: Any, service: Handler) -> None:
    service.answers = [httpx.ReadError("cut")]
    service.answer(
        201,
        schedule(
            next_runs=[AT, AT],
            last_due=AT,
            last_task_id=ID,
            last_skipped=AT,
            module="shop",
            gone=True,
        ),
    )
    new = NewSchedule(
        "report",
        {"name": "Sales"},
        cron="30 6 * * 1-5",
        timezone="Europe/Berlin",
        catch_up=True,
        priority=9,
        max_attempts=2,
        timeout=timedelta(minutes=1),
        labels={"tenant": "acme"},
        concurrency_key="c",
        unique_key="u",
    )
    made = client.put_schedule("daily", new)
    assert (made.name, made.paused, made.payload) == ("daily", False, {"name": "Sales"})
    assert (made.next_runs, made.last_due) == ((datetime.fromisoformat(AT),) * 2, made.next_runs[0])
    assert made.last_skipped == made.last_due
    assert (made.module, made.gone) == ("shop", True)
    assert made.document["later_member"] == 1
    _, request = service.requests
    assert (request.method, request.url.path) == ("PUT", "/below/schedules/daily")
    assert json.loads(request.content) == {
        "type": "report",
        "payload": {"name": "Sales"},
        "cron": "30 6 * * 1-5",
        "timezone": "Europe/Berlin",
        "catch_up": True,
        "paused": False,
        "priority": 9,
        "max_attempts": 2,
        "timeout_seconds": 60.0,
        "labels": {"tenant": "acme"},
        "concurrency_key": "c",
        "unique_key": "u",
    }


def test_a_period_is_in_seconds() -> None:
    assert NewSchedule("file", every=timedelta(hours=1), paused=True).body() == {
        "type": "file",
        "every_seconds": 3600.0,
        "catch_up": False,
        "paused": True,
    }


def test_schedules_are_listed_page_by_page(client: Any, service: Handler) -> None:
    listed = schedule()
    del listed["payload"], listed["labels"]
    service.answer(200, {"schedules": [listed, listed], "next": "x"})
    service.answer(200, {"schedules": [schedule()], "next": None})
    found = list(client.schedules(payloads=True))
    assert [one.payload for one in found] == [None, None, {"name": "Sales"}]
    asked = [dict(request.url.params) for request in service.requests]
    first = {"payloads": "true", "limit": "500"}
    assert asked == [first, {**first, "cursor": "x"}]


def test_schedules_come_with_what_became_of_their_tasks(client: Any, service: Handler) -> None:
    results = [{"task_id": ID, "due": AT, "status": "failed"}]
    service.answer(200, {"schedules": [schedule(results=results), schedule()], "next": None})
    first, second = client.schedules(results=True)
    assert first.results == (DueTask(ID, datetime.fromisoformat(AT), TaskStatus.FAILED),)
    assert second.results is None
    assert dict(service.requests[0].url.params) == {"results": "true", "limit": "500"}


def test_without_payloads_nobody_asks_for_them(client: Any, service: Handler) -> None:
    service.answer(200, {"schedules": [], "next": None})
    assert list(client.schedules(limit=3)) == []
    assert dict(service.requests[0].url.params) == {"limit": "3"}


@pytest.mark.parametrize(
    ("verb", "method", "path"),
    [
        ("schedule", "GET", "/below/schedules/daily"),
        ("pause_schedule", "POST", "/below/schedules/daily/pause"),
        ("resume_schedule", "POST", "/below/schedules/daily/resume"),
    ],
)
def test_a_verb_for_a_schedule_may_be_sent_again(
    client: Any, service: Handler, verb: str, method: str, path: str
) -> None:
    service.answers = [httpx.ReadError("cut")]
    service.answer(200, schedule(paused=True))
    assert getattr(client, verb)("daily").paused
    assert {(r.method, r.url.path) for r in service.requests} == {(method, path)}


def test_a_schedule_that_is_not_there_when_its_deletion_is_sent_again_is_deleted(
    client: Any, service: Handler
) -> None:
    service.answers = [httpx.Response(204), httpx.ReadError("cut")]
    client.delete_schedule("daily")
    service.answer(404, problem(404))
    client.delete_schedule("daily")
    service.answer(404, problem(404))
    with pytest.raises(NotFound):
        client.delete_schedule("daily")
    assert {(r.method, r.url.path) for r in service.requests} == {
        ("DELETE", "/below/schedules/daily")
    }


def test_a_schedule_is_never_run_twice(client: Any, service: Handler) -> None:
    service.answer(202, task())
    assert client.run_schedule("daily").id == ID
    service.answers = [httpx.ReadError("cut")]
    with pytest.raises(ConnectionFailed):
        client.run_schedule("daily")
    assert [request.url.path for request in service.requests] == ["/below/schedules/daily/run"] * 2


def test_a_name_that_no_path_can_have_is_not_sent(client: Any, service: Handler) -> None:
    with pytest.raises(InvalidArgument, match="name of a schedule 'a/b'"):
        client.delete_schedule("a/b")
    assert service.requests == []


def test_what_is_no_schedule_is_unexpected(client: Any, service: Handler) -> None:
    service.answer(200, {"name": "daily"})
    with pytest.raises(UnexpectedAnswer, match="type"):
        client.schedule("daily")
