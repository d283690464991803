"""Streams: no event twice, none missing, whatever happens to the connection."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from afterwards_client import (
    Client,
    ConnectionFailed,
    NotFound,
    ProgressEvent,
    ResetEvent,
    Retries,
    StateEvent,
    TaskEvent,
    UnexpectedAnswer,
)
from tests.client.conftest import Chunks, Handler
from tests.client.documents import AT, ID, problem, state, task


def event(position: str, kind: str, data: Any) -> bytes:
    return f"id: {position}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


PROGRESS = {
    "task_id": ID,
    "type": "notification",
    "at": AT,
    "attempt": 1,
    "fraction": 0.5,
    "message": None,
}


def test_a_task_s_stream_ends_with_the_task(client: Any, service: Handler) -> None:
    service.stream(
        event("e-1", "task", task()),
        b": still there\n\n",
        event("e-2", "state", state("processing")),
        event("e-3", "progress", PROGRESS),
        event("e-4", "state", state("success")),
        event("e-5", "state", state("pending")),
    )
    found = list(client.stream(ID))
    assert [type(one) for one in found] == [TaskEvent, StateEvent, ProgressEvent, StateEvent]
    assert [one.id for one in found] == ["e-1", "e-2", "e-3", "e-4"]
    (request,) = service.requests
    assert request.url.path == f"/below/tasks/{ID}/events"
    assert request.headers["Accept"] == "text/event-stream"


def test_a_task_that_is_finished_already_is_all_there_is(client: Any, service: Handler) -> None:
    service.stream(event("e-1", "task", task(status="failed")))
    (found,) = client.stream(ID)
    assert found.task.status == "failed"


@pytest.mark.parametrize("error", [None, httpx.ReadError("cut"), httpx.ReadTimeout("silence")])
def test_a_stream_goes_on_after_the_last_event_when_its_connection_ends(
    client: Any, service: Handler, error: Exception | None
) -> None:
    half = event("e-2", "state", state("success"))[:-10]
    service.stream(event("e-1", "state", state("processing")), half, error=error)
    service.answers.append(httpx.ConnectError("refused"))
    service.answer(503, problem(503))
    service.stream(event("e-2", "state", state("success")))
    assert [one.id for one in client.stream(ID)] == ["e-1", "e-2"]
    positions = [request.headers.get("Last-Event-ID") for request in service.requests]
    assert positions == [None, "e-1", "e-1", "e-1"]


def test_nothing_more_to_tell_ends_it(client: Any, service: Handler) -> None:
    service.answers = [httpx.Response(204)]
    assert list(client.stream(ID, last_event_id="e-9")) == []
    assert service.requests[0].headers["Last-Event-ID"] == "e-9"


def test_the_stream_of_all_passes_its_filters_on_and_does_not_end_with_a_task(
    client: Any, service: Handler
) -> None:
    service.stream(
        event("e-1", "reset", {"counts": {"notification": {"success": 1}}}),
        event("e-2", "state", state("success")),
        event("e-3", "later-kind", {}),
        event("e-4", "state", state("failed")),
    )
    service.answers.append(httpx.Response(404, json=problem(404)))
    events = client.stream(type="report", status="failed")
    found = [next(events) for _ in range(3)]
    with pytest.raises(NotFound):
        next(events)
    assert isinstance(found[0], ResetEvent)
    assert found[0].counts == {"notification": {"success": 1}}
    assert [one.id for one in found] == ["e-1", "e-2", "e-4"]
    assert dict(service.requests[0].url.params) == {"type": "report", "status": "failed"}
    # Also that of an event of an unknown kind is a position.
    assert service.requests[1].headers["Last-Event-ID"] == "e-4"


def test_the_stream_of_all_may_be_of_some_tasks_and_of_several_states(
    client: Any, service: Handler
) -> None:
    service.answers.append(httpx.Response(204))
    assert list(client.stream(task_ids=["a", "b"], status=["failed", "success"])) == []
    (request,) = service.requests
    assert request.url.path == "/below/events"
    assert request.url.params.multi_items() == [
        ("status", "failed"),
        ("status", "success"),
        ("task_id", "a"),
        ("task_id", "b"),
    ]


def test_whoever_stops_listening_closes_the_connection(client: Any, service: Handler) -> None:
    body = Chunks((event("e-1", "state", state("pending")),) * 2, None)
    headers = {"Content-Type": "text/event-stream"}
    service.answers = [httpx.Response(200, stream=body, headers=headers)]
    events = client.stream()
    next(events)
    assert not body.closed
    events.close()
    assert body.closed


def test_a_service_that_stays_away_ends_it_with_an_error(service: Handler) -> None:
    service.answers = [httpx.ConnectError("refused")]
    with httpx.Client(transport=httpx.MockTransport(service)) as http:
        client = Client(http=http, retries=Retries(total_seconds=0))
        with pytest.raises(ConnectionFailed, match="refused"):
            list(client.stream())


def test_a_stream_that_ends_at_once_again_and_again_is_given_up(service: Handler) -> None:
    service.stream()
    with httpx.Client(transport=httpx.MockTransport(service)) as http:
        client = Client(http=http, retries=Retries(total_seconds=0))
        with pytest.raises(ConnectionFailed, match="again and again"):
            list(client.stream())


def test_a_page_is_no_stream(client: Any, service: Handler) -> None:
    service.answer(200, {})
    with pytest.raises(UnexpectedAnswer, match="no event stream"):
        list(client.stream())


@pytest.mark.parametrize(
    "data", ["{", "{}", "[]", '{"task": 1}', pytest.param("[" * 100_000, id="deep")]
)
def test_an_event_that_is_none_says_so(client: Any, service: Handler, data: str) -> None:
    service.stream(f"event: state\ndata: {data}\n\n".encode())
    with pytest.raises(UnexpectedAnswer, match="in an event state"):
        list(client.stream())


@pytest.mark.parametrize("position", ["\N{LATIN SMALL LETTER E WITH ACUTE}", "a\x01", "a "])
def test_an_id_that_cannot_be_sent_back_is_not_of_this_service(
    client: Any, service: Handler, position: str
) -> None:
    service.stream(f"id: {position}\n\n".encode())
    with pytest.raises(UnexpectedAnswer, match="id that no header can carry"):
        list(client.stream())


def test_a_silent_stream_is_taken_for_dead_after_three_heartbeats(
    client: Any, service: Handler
) -> None:
    service.answers = [httpx.Response(204)]
    list(client.stream())
    assert service.requests[0].extensions["timeout"]["read"] == 45.0
