"""Types, statistics, workers, errors and activity, as the service's own examples show them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from afterwards.api.schemas.activity import EntryDocument
from afterwards.api.schemas.error_groups import ErrorGroupDocument
from afterwards.api.schemas.series import SeriesDocument
from afterwards.api.schemas.task_types import StatisticsDocument, TaskTypeDocument
from afterwards.api.schemas.workers import WorkersDocument
from afterwards_client import NotFound, RateLimit, Slots, UnexpectedAnswer
from tests.client.conftest import Handler
from tests.client.documents import problem
from tests.client.test_streams import event


def example(model: type[BaseModel], **members: Any) -> dict[str, Any]:
    """An answer as the service documents it, with a member of a later version."""
    extra: Any = model.model_config["json_schema_extra"]
    return {**extra["examples"][0], "later_member": 1, **members}


def asked(service: Handler) -> list[tuple[str, str]]:
    return [(request.method, request.url.path) for request in service.requests]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_task_types_are_listed_and_shown(client: Any, service: Handler) -> None:
    limited = example(TaskTypeDocument, rate_limit={"count": 5, "period_seconds": 60.0})
    service.answer(200, {"task_types": [example(TaskTypeDocument), limited]})
    service.answer(200, limited)
    first, second = client.task_types()
    assert (first.name, first.paused, first.rate_limit) == ("notification", False, None)
    assert (first.tasks["success"], first.payload_schema["type"]) == (40, "object")
    assert second.rate_limit == RateLimit(5, 60.0)
    assert client.task_type("notification") == second
    assert asked(service) == [
        ("GET", "/below/task-types"),
        ("GET", "/below/task-types/notification"),
    ]


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_type_is_paused_and_resumed_also_when_it_is_sent_again(
    client: Any, service: Handler, verb: str
) -> None:
    service.answers = [httpx.ReadError("cut")]
    service.answer(200, example(TaskTypeDocument, paused=verb == "pause"))
    assert getattr(client, f"{verb}_type")("notification").paused is (verb == "pause")
    assert set(asked(service)) == {("POST", f"/below/task-types/notification/{verb}")}


def test_the_pause_of_a_type_that_is_gone_can_be_ended(client: Any, service: Handler) -> None:
    service.answers = [httpx.Response(204)]
    assert client.resume_type("gone") is None


def test_statistics_are_read(client: Any, service: Handler) -> None:
    service.answer(200, example(StatisticsDocument))
    found = client.stats()
    assert (found.version, found.workers, found.tasks["pending"], found.retrying) == (
        "1.0.0",
        2,
        2,
        0,
    )
    assert found.slots == {"async": Slots(busy=1, free=9_999, stuck=0)}
    assert found.paused_types == ()
    assert found.document["later_member"] == 1
    assert asked(service) == [("GET", "/below/stats")]


LIVE: dict[str, Any] = {
    "at": "2026-11-21T10:00:00.000000+00:00",
    "tasks": {"pending": 2, "success": 40, "failed": 0, "retrying": 1},
    "per_second": {"submitted": 0.5, "finished": 0.25, "failed": 0.0},
    "slots": {"async": {"busy": 1, "free": 9_999}},
    "workers": 2,
    "oldest_pending_seconds": 0.01,
    "paused_types": ["report"],
    "by_type": {"notification": {"pending": 2}},
    "types_left_out": 0,
}


def test_statistics_are_followed_over_broken_connections(client: Any, service: Handler) -> None:
    service.stream(event("", "stats", LIVE), b": the registry is away\n\n", event("", "later", {}))
    service.answer(503, None)
    service.stream(event("", "stats", {**LIVE, "workers": 1}))
    moments = client.stream_stats()
    first, second = next(moments), next(moments)
    moments.close()
    assert (first.at, first.workers, second.workers) == (at(LIVE["at"]), 2, 1)
    assert first.slots == {"async": Slots(busy=1, free=9_999, stuck=0)}
    assert (first.per_second["submitted"], first.paused_types) == (0.5, ("report",))
    assert asked(service) == [("GET", "/below/stats/events")] * 3
    assert {request.headers["Accept"] for request in service.requests} == {"text/event-stream"}


def test_a_stream_of_something_else_is_unexpected(client: Any, service: Handler) -> None:
    service.stream(event("", "stats", {"at": "never"}))
    with pytest.raises(UnexpectedAnswer, match="in an event stats"):
        next(client.stream_stats())


def test_series_have_a_time_and_a_value_for_each_bucket(client: Any, service: Handler) -> None:
    service.answer(200, example(SeriesDocument))
    service.answer(200, example(SeriesDocument, range="24h", type="report"))
    found = client.series()
    assert found.times[0] == datetime.fromtimestamp(1_795_860_000, UTC)
    assert len(found.times) == len(found.submitted) == len(found.tasks["retrying"])
    assert (found.submitted[0], found.wait_p95[1]) == (None, 0.0048)
    assert client.series("24h", type="report").type == "report"
    queries = [dict(request.url.params) for request in service.requests]
    assert queries == [{}, {"range": "24h", "type": "report"}]


def test_workers_have_their_hosts_and_what_runs_there(client: Any, service: Handler) -> None:
    document = example(WorkersDocument)
    service.answer(200, document)
    found = client.workers()
    assert (found.registry.pid, found.registry.uptime_seconds) == (4700, 86_400.0)
    (worker,) = found.workers
    assert (worker.pid, worker.draining, worker.running_total) == (4711, False, 1)
    assert worker.slots["async"].free == 9_999
    (host,), (running,) = worker.hosts, worker.running
    assert (host.pid, host.state, host.attempts) == (4720, "running", 1)
    assert (running.host_pid, running.attempt) == (4720, 1)
    assert running.started_at == at(document["workers"][0]["running"][0]["started_at"])


def test_workers_that_have_not_said_are_read(client: Any, service: Handler) -> None:
    document = example(WorkersDocument)
    silent: dict[str, Any] = {
        "started_at": None,
        "memory_bytes": None,
        "lease_seconds_left": None,
        "hosts": [],
    }
    document["workers"] = [{**document["workers"][0], **silent}]
    service.answer(200, document)
    (worker,) = client.workers().workers
    assert (worker.started_at, worker.memory_bytes, worker.lease_seconds_left) == (None,) * 3


def test_errors_are_grouped(client: Any, service: Handler) -> None:
    group = example(ErrorGroupDocument)
    service.answer(200, {"groups": [group], "ungrouped": 3})
    service.answer(200, group)
    found = client.errors(type="report", order="latest", limit=5)
    assert found.ungrouped == 3
    (one,) = found.groups
    assert (one.id, one.count, one.last_seen) == (
        group["id"],
        group["count"],
        at(group["last_seen"]),
    )
    assert client.error(group["id"]) == one
    first, second = service.requests
    assert dict(first.url.params) == {"type": "report", "order": "latest", "limit": "5"}
    assert second.url.path == f"/below/errors/{group['id']}"


def test_an_error_that_nobody_has_any_more_is_not_found(client: Any, service: Handler) -> None:
    service.answer(404, problem(404))
    with pytest.raises(NotFound):
        client.error("5f0c9a1be27d4c83")


def test_activity_is_listed_page_by_page(client: Any, service: Handler) -> None:
    service.answer(200, {"entries": [example(EntryDocument)], "next": "x"})
    service.answer(200, {"entries": [example(EntryDocument, actor="jo")], "next": None})
    first, second = client.activity(limit=5)
    assert (first.verb, first.object, first.count, first.outcome) == ("retry", "tasks", 12, "done")
    assert (first.actor, second.actor) == (None, "jo")
    queries = [dict(request.url.params) for request in service.requests]
    assert queries == [{"limit": "5"}, {"limit": "4", "cursor": "x"}]


@pytest.mark.parametrize("verb", ["stats", "series", "workers", "errors", "task_types"])
def test_what_is_something_else_is_unexpected(client: Any, service: Handler, verb: str) -> None:
    service.answer(200, {"tasks": []})
    with pytest.raises(UnexpectedAnswer):
        getattr(client, verb)()
