"""Server-sent events as bytes, and as one of the API's answers."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.api import event_frames
from afterwards.api import events as routes
from afterwards.api.event_frames import SharedFrames, Wanted
from afterwards.api.http_metrics import HttpMetrics
from afterwards.api.schemas import EXAMPLE_ID
from afterwards.errors import Draining
from afterwards.events.streams import Portion, Reset, Snapshot
from afterwards.events.window import NOWHERE, Position
from afterwards.lifecycle import TaskState
from afterwards.registry.protocol.answers import Event, ProgressMark
from tests.api.conftest import FakeService, FakeStream

pytestmark = pytest.mark.anyio

AT = 1_750_932_000.25
SHOWN_AT = "2025-06-26T10:00:00.250000+00:00"
FAILED, PROCESSING = TaskState.FAILED, TaskState.PROCESSING


def portion(*events: Event) -> Portion:
    first, last = events[0].sequence, events[-1].sequence
    return Portion(Position("ab", first - 1), Position("ab", last), events)


FAILURE = Event(7, "t1", "report", FAILED, AT, "failed: \N{SNOWMAN}\nbadly", 2)
HALF = Event(8, "t2", "note", PROCESSING, AT - 1, "claimed", 1, ProgressMark(1, 0.5, "half", AT))


async def test_state_and_progress_are_one_message_each(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    service.streamed = [portion(FAILURE, HALF)]

    answer = await client.get("/events")

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    opening, first, second = answer.text.removesuffix("\n\n").split("\n\n")
    # An id without data is no event, and yet where a client goes on that has seen none.
    assert opening == "retry: 1000\nid: ab-1"
    lines = first.split("\n")
    assert lines[:2] == ["id: ab-7", "event: state"]
    assert json.loads(lines[2].removeprefix("data: ")) == {
        "task_id": "t1",
        "type": "report",
        "status": "failed",
        "at": SHOWN_AT,
        "reason": "failed: \N{SNOWMAN}\nbadly",
        "attempt": 2,
    }
    lines = second.split("\n")
    assert lines[:2] == ["id: ab-8", "event: progress"]
    assert json.loads(lines[2].removeprefix("data: ")) == {
        "task_id": "t2",
        "type": "note",
        "at": SHOWN_AT,
        "attempt": 1,
        "fraction": 0.5,
        "message": "half",
    }


async def test_a_reset_has_the_numbers_of_tasks(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    counts = {("report", FAILED): 2, ("report", PROCESSING): 0, ("note", FAILED): 1}
    service.streamed = [Reset(Position("cd", 9), counts)]
    _, message, _ = (await client.get("/events")).text.split("\n\n")
    lines = message.split("\n")
    assert lines[:2] == ["id: cd-9", "event: reset"]
    assert json.loads(lines[2].removeprefix("data: ")) == {
        "counts": {"note": {"failed": 1}, "report": {"failed": 2}}
    }


async def test_a_snapshot_is_the_task_on_one_line(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    task = service.put(TaskState.SUCCESS, result=b'{\r\n "a": 1}')
    service.streamed = [Snapshot(Position("ab", 5), task, None)]
    opening, message, _ = (await client.get(f"/tasks/{task.id}/events")).text.split("\n\n")
    assert opening == "retry: 1000"
    lines = message.split("\n")
    assert lines[:2] == ["id: ab-5", "event: task"]
    document = json.loads(lines[2].removeprefix("data: "))
    assert (document["id"], document["result"]) == (task.id, {"a": 1})


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("type=report", ["ab-7"]),
        ("type=report&type=note", ["ab-7", "ab-8"]),
        ("status=processing", ["ab-8"]),
        ("status=processing&status=failed", ["ab-7", "ab-8"]),
        ("status=processing&type=report", []),
        ("type=unknown", []),
    ],
)
async def test_a_filter_takes_what_meets_all_conditions(
    client: httpx.AsyncClient, service: FakeService, query: str, ids: list[str]
) -> None:
    service.streamed = [portion(FAILURE, HALF)]
    text = (await client.get(f"/events?{query}")).text
    assert [part.split("\n")[0] for part in text.split("\n\n")[1:-1]] == [f"id: {i}" for i in ids]


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sequences of the events that were rendered, each time."""
    sequences: list[int] = []
    render = event_frames._event_frame

    def noted(epoch: str, event: Event) -> bytes:
        sequences.append(event.sequence)
        return render(epoch, event)

    monkeypatch.setattr(event_frames, "_event_frame", noted)
    return sequences


async def test_an_event_is_rendered_once_however_different_its_listeners_are(
    client: httpx.AsyncClient, service: FakeService, rendered: list[int]
) -> None:
    service.streamed = [portion(FAILURE, HALF)]
    for number in range(20):
        for query in ("", "&status=failed&type=report", "&type=note&type=report", "&type=note"):
            await client.get(f"/events?type=other-{number}{query}")
    assert sorted(rendered) == [7, 8]


async def test_what_nobody_wants_is_not_rendered(
    client: httpx.AsyncClient, service: FakeService, rendered: list[int]
) -> None:
    service.streamed = [portion(FAILURE, HALF)]
    for query in ("type=other", "type=note", "type=note&status=failed"):
        await client.get(f"/events?{query}")
    assert rendered == [8]


def test_a_filter_is_held_against_each_type_and_state_once(
    monkeypatch: pytest.MonkeyPatch, rendered: list[int]
) -> None:
    held: list[tuple[str, TaskState]] = []
    takes = Wanted.takes

    def noted(wanted: Wanted, type_name: str, state: TaskState) -> bool:
        held.append((type_name, state))
        return takes(wanted, type_name, state)

    monkeypatch.setattr(Wanted, "takes", noted)
    events = [
        FAILURE._replace(sequence=number, type=("report", "note")[number % 2])
        for number in range(1, 251)
    ]
    frames = SharedFrames(portion(*events))
    sizes = [len(frames.of(Wanted(["note", f"x{number}"], []))) for number in range(300)]

    assert len(set(sizes)) == 1
    assert len(held) == 300 * 2
    assert len(rendered) == 125


@pytest.mark.measures
def test_different_filters_cost_what_equal_ones_do() -> None:
    types = ["notification", "report", "file", "email"]
    events = [FAILURE._replace(sequence=n, type=types[n % 4]) for n in range(1, 251)]

    def seconds(filters: list[Wanted]) -> float:
        best = math.inf
        for _ in range(5):
            frames = SharedFrames(portion(*events))
            started = time.thread_time()
            sizes = [len(frames.of(wanted)) for wanted in filters]
            best = min(best, time.thread_time() - started)
            assert min(sizes) > 5_000
        return best

    equal = [Wanted(types, [])] * 300
    # Each leaves out one type, and names another that is in no event.
    different = [
        Wanted([*types[: n % 4], *types[n % 4 + 1 :], f"other-{n}"], []) for n in range(300)
    ]
    assert seconds(different) <= 2 * seconds(equal)


def test_as_many_selections_as_are_kept_or_more_are_right(rendered: list[int]) -> None:
    names = [f"type-{number}" for number in range(8)]
    events = [FAILURE._replace(sequence=n, type=name) for n, name in enumerate(names, 1)]
    frames = SharedFrames(portion(*events))

    for _ in range(2):
        for n, name in enumerate(names, 1):
            others = frames.of(Wanted([other for other in names if other != name], []))
            assert others.count(b"event: state") == 7
            assert b"id: ab-%d\n" % n not in others
    assert len(rendered) == 8


async def test_events_of_some_tasks_are_those_of_no_other(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    ids = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(3)]
    events = [Event(7 + n, ids[n % 3], "note", FAILED, AT, "failed", 1) for n in range(6)]
    service.streamed = [portion(*events)]
    answer = await client.get("/events", params={"task_id": [ids[0], ids[2].upper()]})
    shown = [line for line in answer.text.split("\n") if line.startswith("id: ")][1:]
    assert shown == ["id: ab-7", "id: ab-9", "id: ab-10", "id: ab-12"]


@pytest.mark.parametrize("ids", [["x"], [EXAMPLE_ID] * 101])
async def test_ids_that_are_none_or_too_many_are_refused(
    client: httpx.AsyncClient, ids: list[str]
) -> None:
    answer = await client.get("/events", params={"task_id": ids})
    assert answer.status_code == 422
    assert "#/task_id" in answer.text


async def test_an_unknown_status_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/events?status=completed")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == "query"


async def test_silence_is_interrupted_by_how_far_the_stream_is(
    client: httpx.AsyncClient, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.streamed = [None, portion(FAILURE), None]
    assert ": heartbeat" not in (await client.get("/events")).text
    monkeypatch.setattr(routes, "HEARTBEAT_SECONDS", 0.0)
    # What is filtered out is silence, too.
    text = (await client.get("/events?type=none")).text
    assert text.count(": heartbeat\nid: ab-1\n\n") == 3


@pytest.mark.parametrize(
    ("header", "query", "position"),
    [
        ("ab-7", None, Position("ab", 7)),
        (None, "ab-7", Position("ab", 7)),
        ("ab-9", "ab-7", Position("ab", 9)),
        ("", "", None),
        (None, None, None),
        ("nonsense", None, NOWHERE),
        ("ab-\N{ARABIC-INDIC DIGIT ONE}".encode(), None, NOWHERE),
        ("ab-" + "9" * 5_000, None, NOWHERE),
        ("-1", None, NOWHERE),
    ],
)
async def test_a_client_goes_on_after_the_last_id_it_has_seen(
    client: httpx.AsyncClient,
    service: FakeService,
    header: str | bytes | None,
    query: str | None,
    position: Position | None,
) -> None:
    headers: Any = {} if header is None else {"Last-Event-ID": header}
    params = {} if query is None else {"last_event_id": query}
    task = service.put(FAILED)
    for path in ("/events", f"/tasks/{task.id}/events/"):
        answer = await client.get(path, headers=headers, params=params)
        assert answer.status_code == (204 if position is not None and "tasks" in path else 200)
    assert service.asked_from == [position, position]


async def test_head_ends_at_once(client: httpx.AsyncClient, service: FakeService) -> None:
    service.streamed = [None] * 10_000
    answer = await client.head("/events")
    assert (answer.status_code, answer.content) == (200, b"")


SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/events",
    "raw_path": b"/events",
    "query_string": b"",
    "headers": [],
    "root_path": "",
    "http_version": "1.1",
}


async def test_a_stream_counts_as_answered_with_its_first_part(
    app: FastAPI, service: FakeService, http_metrics: HttpMetrics
) -> None:
    """A client that listens for long does not make the service slow."""
    service.streamed = [None, portion(FAILURE)]
    counted: list[int] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        counted.append(sum(http_metrics.counts().requests.values()))

    await app({**SCOPE}, receive, send)

    # The head, the opening, an event, the end.
    assert counted == [0, 1, 1, 1]
    assert list(http_metrics.counts().requests) == [("GET", "/events", "200")]


async def test_a_client_that_goes_away_ends_its_stream(
    app: FastAPI, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[bool] = []

    class Endless:
        position = Position("ab", 1)
        is_over = False
        is_waiting = False

        async def next(self, seconds: float) -> None:
            await asyncio.Event().wait()

    @asynccontextmanager
    async def all_streams(position: Position | None) -> AsyncIterator[Endless]:
        yield Endless()
        left.append(True)

    monkeypatch.setattr(service, "all_streams", all_streams)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect" if len(sent) > 1 else "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(app({**SCOPE}, receive, send), 10)
    assert left


async def test_a_query_that_would_have_no_effect_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/events?kind=report")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/kind"


async def test_a_process_that_stops_has_event_source_come_again(
    client: httpx.AsyncClient, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To anything but a 200 it would not come back."""

    def draining(*_: object) -> None:
        raise Draining

    monkeypatch.setattr(service, "all_streams", draining)
    monkeypatch.setattr(service, "task_stream", draining)

    for path in ("/events", f"/tasks/{EXAMPLE_ID}/events"):
        answer = await client.get(path)
        assert (answer.status_code, answer.text) == (200, "retry: 1000\n\n")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["connection"] == "close"
        assert answer.headers["cache-control"] == "no-store"


async def test_a_stream_that_waits_for_the_registry_says_so(
    client: httpx.AsyncClient, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeStream, "is_waiting", True)
    monkeypatch.setattr(FakeStream, "position", NOWHERE)
    text = (await client.get("/events")).text
    assert text.startswith("retry: 1000\n\n: ")
    assert "id:" not in text
