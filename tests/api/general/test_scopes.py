"""A key reaches the tasks of its types with its labels, and sees of them what it may."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.access.principal import Principal
from afterwards.access.roles import Grant, Role
from afterwards.api.event_frames import SharedFrames, Wanted
from afterwards.api.live_statistics import statistics_frame
from afterwards.api.schemas.error_groups import ErrorGroupList
from afterwards.api.schemas.schedules import ScheduleDocument
from afterwards.api.schemas.status import ProcessingStatus, TaskStatus
from afterwards.api.schemas.task_lists import TaskPage
from afterwards.api.schemas.tasks import FullTaskDocument
from afterwards.errors import NotAllowed
from afterwards.events.streams import Portion, Snapshot
from afterwards.events.window import Position
from afterwards.registry.protocol import requests
from afterwards.registry.protocol.answers import Event, Page, Scan
from afterwards.registry.protocol.filters import Filter
from afterwards.service import narrowed
from afterwards.service.service import TaskService
from afterwards.service.sight import Sight
from tests.access.holders import Holder, holder, ring_of
from tests.api.general.conftest import NOTE, Hand, submitted

pytestmark = pytest.mark.anyio

ROOT = holder(Role.ADMIN, "root")
NOTES = holder(Role.OPERATOR, "notes", types=frozenset({"note"}))
NOTHING = holder(Role.OPERATOR, "nothing", types=frozenset())
ACME = holder(Role.OPERATOR, "acme", labels={"tenant": "acme"})
BLIND = holder(Role.ADMIN, "blind", payloads=False)
SHOP, CART = holder(Role.SUBMITTER, "shop"), holder(Role.SUBMITTER, "cart")
SHOP_AGAIN = holder(Role.SUBMITTER, "shop 2", principal="shop")
SUBMITS = holder(name="drop", grants=frozenset({Grant.SUBMIT}), payloads=False)
HOLDERS = (ROOT, NOTES, NOTHING, ACME, BLIND, SHOP, CART, SHOP_AGAIN, SUBMITS)

LONG_AGO = "2020-01-01T00:00:00Z"
SECRET = "sesame"
THEIRS = {"type": "nothing", "payload": {"secret word": SECRET}, "labels": {"tenant": "other"}}
OURS = {**NOTE, "labels": {"tenant": "acme", "plan": "pro"}}
EVERY = {"cron": None, "every_seconds": 3600}

By = Callable[[Holder], httpx.AsyncClient]


@pytest.fixture
async def by(app: FastAPI) -> AsyncIterator[By]:
    """Gives the client of a holder."""
    app.state.gate.renew(ring_of(*HOLDERS))
    transport = httpx.ASGITransport(app)
    clients = {
        one.key.name: httpx.AsyncClient(
            transport=transport, base_url="http://service", headers=one.headers
        )
        for one in HOLDERS
    }
    yield lambda one: clients[one.key.name]
    for client in clients.values():
        await client.aclose()


@pytest.fixture
async def ids(by: By) -> tuple[str, str]:
    """A task that is a note of acme's, and one that is neither."""
    ours = (await by(ROOT).post("/tasks", json={**OURS, "delay_seconds": 900})).json()["id"]
    theirs = (await by(ROOT).post("/tasks", json={**THEIRS, "delay_seconds": 900})).json()["id"]
    return ours, theirs


LIMITED = pytest.mark.parametrize("limited", [NOTES, ACME], ids=["types", "labels"])
OF_A_TASK = pytest.mark.parametrize(
    "call",
    [
        "GET /tasks/{}", "GET /status/{}", "GET /task/{}/status", "GET /tasks/{}/events",
        "GET /tasks/{}?wait=5", "POST /tasks/{}/cancel", "POST /tasks/{}/retry",
        "POST /tasks/{}/run", "POST /retry-task/{}", "DELETE /tasks/{}",
        'PATCH /tasks/{} {"run_at":"2030-01-01T00:00:00Z"}',
        'PATCH /tasks/{} {"payload":{"body":"mine"}}',
        'POST /tasks/{}/retry {"payload":{"body":"mine"}}',
    ],
)  # fmt: skip


async def called(client: httpx.AsyncClient, call: str, task_id: str) -> httpx.Response:
    method, path, *body = call.replace("{}", task_id, 1).split(" ", 2)
    content = body[0] if body else None
    return await client.request(
        method, path, content=content, headers={"Content-Type": "application/json"}
    )


@LIMITED
@OF_A_TASK
async def test_a_task_beyond_reach_is_as_if_it_were_not_there(
    by: By, ids: tuple[str, str], limited: Holder, call: str
) -> None:
    before = (await by(ROOT).get(f"/tasks/{ids[1]}")).json()
    unknown = "00000000-0000-4000-8000-000000000000"
    answers = [await called(by(limited), call, task_id) for task_id in (ids[1], unknown)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert (await by(ROOT).get(f"/tasks/{ids[1]}")).json() == before


@LIMITED
async def test_a_deleted_task_is_not_told_to_have_been_there(
    by: By, ids: tuple[str, str], limited: Holder
) -> None:
    await by(ROOT).post(f"/tasks/{ids[1]}/cancel")
    assert (await by(ROOT).delete(f"/tasks/{ids[1]}")).status_code == 204
    assert (await by(ROOT).get(f"/tasks/{ids[1]}")).status_code == 410
    assert (await by(limited).get(f"/tasks/{ids[1]}")).status_code == 404
    assert (await by(BLIND).get(f"/tasks/{ids[1]}")).status_code == 410
    assert (await by(SHOP).post(f"/tasks/{ids[1]}/cancel")).status_code == 410


@LIMITED
async def test_a_task_within_reach_is_there(by: By, ids: tuple[str, str], limited: Holder) -> None:
    client = by(limited)
    for path in ("/tasks/{}", "/status/{}", "/task/{}/status"):
        assert (await client.get(path.format(ids[0]))).status_code == 200
    assert (await client.post(f"/tasks/{ids[0]}/run")).status_code == 200
    assert (await client.post(f"/tasks/{ids[0]}/cancel")).status_code == 200
    assert (await client.delete(f"/tasks/{ids[0]}")).status_code == 204


@LIMITED
@pytest.mark.parametrize("query", ["", "type=note", "type=nothing", "type=note&type=nothing",
    "label=tenant", "label=tenant%3Dother", "status=scheduled", "order=due", "q=sesame",
    "summary=true", "created_after=2020-01-01T00:00:00Z"])  # fmt: skip
async def test_lists_and_counts_have_what_is_within_reach(
    by: By, ids: tuple[str, str], limited: Holder, query: str
) -> None:
    everything = (await by(ROOT).get(f"/tasks?{query}")).json()["tasks"]
    expected = [one["id"] for one in everything if one["id"] == ids[0]]
    listed = (await by(limited).get(f"/tasks?{query}")).json()
    assert [one["id"] for one in listed["tasks"]] == expected
    if "order" not in query and "summary" not in query:
        counted = (await by(limited).get(f"/tasks/count?{query}")).json()
        assert counted["count"] == len(expected)


@pytest.mark.parametrize("limited", [NOTES, ACME])
async def test_a_search_tells_neither_number_nor_time_of_tasks_beyond_reach(
    limited: Holder,
) -> None:
    async def ask(_: Any) -> Page:
        return Page([], None, scan=Scan(7, 1_790_000_000.0, complete=True))

    request = requests.Find(Filter(labels=("tenant=other",)), 10)
    page = await narrowed.carried_out(Sight(Principal(limited.key)), ask, request)
    assert page.scan == Scan(0, None, complete=True)


async def test_a_key_without_a_type_lists_nothing(by: By, ids: tuple[str, str]) -> None:
    assert (await by(NOTHING).get("/tasks")).json()["tasks"] == []
    assert (await by(NOTHING).get("/tasks/count")).json()["count"] == 0
    assert (await by(NOTHING).get(f"/tasks/{ids[0]}")).status_code == 404


@LIMITED
@pytest.mark.parametrize("named", [True, False])
async def test_verbs_for_many_tasks_leave_alone_what_is_beyond_reach(
    by: By, ids: tuple[str, str], limited: Holder, *, named: bool
) -> None:
    body: dict[str, Any] = {"ids": list(ids)} if named else {"created_after": LONG_AGO}
    for verb in ("run", "cancel", "delete"):
        dry = await by(limited).post(f"/tasks/{verb}", json={**body, "dry_run": True})
        assert dry.json()["matched"] == 1, verb
        done = (await by(limited).post(f"/tasks/{verb}", json=body)).json()
        assert done["matched"] - done["skipped"] == 1, verb
    assert (await by(ROOT).get(f"/tasks/{ids[0]}")).status_code == 410
    assert (await by(ROOT).get(f"/tasks/{ids[1]}")).json()["status"] == "scheduled"


@pytest.mark.parametrize(
    ("limited", "task", "names"),
    [(NOTES, THEIRS, "note"), (ACME, THEIRS, "tenant=acme"), (ACME, NOTE, "tenant=acme")],
)
async def test_a_submission_beyond_reach_is_refused_and_says_what_is_within(
    by: By, limited: Holder, task: Any, names: str
) -> None:
    for path, body in (("/tasks", task), ("/tasks/batch", {"tasks": [OURS, task]})):
        answer = await by(limited).post(path, json=body)
        assert answer.status_code == 403, answer.text
        assert names in answer.json()["detail"]
    assert (await by(ROOT).get("/tasks/count")).json()["count"] == 0
    assert (await by(limited).post("/tasks", json=OURS)).status_code == 202


async def test_a_type_beyond_reach_is_not_told_from_one_that_is_not_there(by: By) -> None:
    said = []
    for name in ("slow", "what"):
        answer = await by(NOTES).post("/tasks", json={"type": name, "payload": {}})
        said.append((answer.status_code, answer.json()["detail"].replace(name, "")))
        assert "slow" not in answer.json()["detail"].replace(repr(name), "")
    assert said[0] == said[1]
    listed = (await by(NOTES).get("/task-types")).json()["task_types"]
    assert [one["name"] for one in listed] == ["note"]
    for verb in ("/task-types/slow", "/task-types/what"):
        assert (await by(NOTES).get(verb)).status_code == 404
        assert (await by(NOTES).post(f"{verb}/pause")).status_code == 404


async def test_no_task_is_moved_to_a_type_beyond_reach(by: By, ids: tuple[str, str]) -> None:
    task = {"type": "nothing", "payload": {}}
    answers = [
        await by(NOTES).patch(f"/tasks/{ids[0]}", json=task),
        await by(NOTES).post(f"/tasks/{ids[0]}/retry", json={"new_type": "nothing"}),
        await by(NOTES).post("/tasks/retry", json={"new_type": "nothing"}),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert (await by(ROOT).get(f"/tasks/{ids[0]}")).json()["type"] == "note"


# -- what tells of many tasks ---------------------------------------------------------------------

OF_ALL = ("/stats", "/stats/events", "/stats/series?range=1h", "/metrics", "/errors", "/events",
          "/workers", "/activity", "/stats/series?range=1h&type=note")  # fmt: skip


@pytest.mark.parametrize("path", OF_ALL)
async def test_a_key_with_labels_gets_no_aggregates(by: By, path: str) -> None:
    answer = await by(ACME).get(path)
    assert answer.status_code == 403
    assert "tenant=acme" in answer.json()["detail"]
    assert (await by(ACME).post("/task-types/note/pause")).status_code == 403


async def test_a_key_with_types_gets_the_numbers_of_those(
    by: By, ids: tuple[str, str], hand: Hand
) -> None:
    for task_id in ids:
        await by(ROOT).post(f"/tasks/{task_id}/run")
        hand.fail(hand.claim(task_id), error="boom")
    await by(ROOT).post("/task-types/nothing/pause")
    stats = (await by(NOTES).get("/stats")).json()
    assert (stats["by_type"].keys(), stats["submitted"]) == ({"note"}, 1)
    assert (stats["tasks"]["failed"] + stats["tasks"]["scheduled"], stats["paused_types"]) == (
        1,
        [],
    )
    groups = (await by(NOTES).get("/errors")).json()["groups"]
    assert {one["type"] for one in groups} <= {"note"}
    for path in ("/metrics", "/activity", "/stats/series?range=1h"):
        assert (await by(NOTES).get(path)).status_code == 403
    assert (await by(NOTES).get("/stats/series?range=1h&type=nothing")).status_code == 403
    assert (await by(NOTES).get("/stats/series?range=1h&type=note")).status_code == 200
    assert (await by(NOTES).get("/workers")).status_code == 200


async def test_a_kind_of_request_without_a_rule_is_refused_to_limited_keys() -> None:
    async def ask(_: Any) -> Any:
        pytest.fail("it was asked")

    sight = Sight(Principal(NOTES.key))
    for request in (requests.Scrape(None), requests.Counts(), requests.Probe()):
        with pytest.raises(NotAllowed, match="reaches note"):
            await narrowed.carried_out(sight, ask, request)


# -- schedules ------------------------------------------------------------------------------------


@LIMITED
async def test_schedules_are_reached_by_the_tasks_they_make(by: By, limited: Holder) -> None:
    names = [f"{number}-{who}" for number in range(3) for who in ("ours", "theirs")]
    for name in names:
        task = OURS if name.endswith("ours") else THEIRS
        put = await by(ROOT).put(f"/schedules/{name}", json={**task, "every_seconds": 3600})
        assert put.status_code == 201, put.text
    client, listed, cursor = by(limited), [], ""
    while True:
        page = (await client.get(f"/schedules?limit=1{cursor}")).json()
        listed += [one["name"] for one in page["schedules"]]
        if page["next"] is None:
            break
        assert b"theirs" not in base64.b64decode(page["next"] + "==")
        cursor = f"&cursor={page['next']}"
    assert listed == ["0-ours", "1-ours", "2-ours"]
    for name, status in (("0-ours", 200), ("0-theirs", 404), ("none", 404)):
        assert (await client.get(f"/schedules/{name}")).status_code == status
        assert (await client.post(f"/schedules/{name}/pause")).status_code == status
        assert (await client.post(f"/schedules/{name}/resume")).status_code == status
        run = await client.post(f"/schedules/{name}/run")
        assert run.status_code == (202 if status == 200 else 404)
        new = {**OURS, "every_seconds": 60}
        put = await client.put(f"/schedules/{name}", json=new)
        assert put.status_code == {"0-ours": 200, "0-theirs": 403, "none": 201}[name]
        gone = await client.delete(f"/schedules/{name}")
        assert gone.status_code == (404 if name == "0-theirs" else 204)
    assert (await client.put("/schedules/new", json={**THEIRS, **EVERY})).status_code == 403
    assert (await by(ROOT).get("/schedules/0-theirs")).json()["every_seconds"] == 3600


async def test_what_became_of_a_schedule_s_tasks_is_told_to_keys_that_reach_all(by: By) -> None:
    await by(ROOT).put("/schedules/daily", json={**OURS, "every_seconds": 3600})
    seen = {}
    for one in (ROOT, BLIND, NOTES, ACME):
        [found] = (await by(one).get("/schedules?results=true")).json()["schedules"]
        seen[one.key.name] = found.get("results")
    # They may have been of another type, and a limited key would be told of them.
    assert seen == {"root": [], "blind": [], "notes": None, "acme": None}


# -- payloads -------------------------------------------------------------------------------------


async def test_without_payloads_no_document_has_what_is_in_tasks(
    by: By, hand: Hand, ids: tuple[str, str]
) -> None:
    task = {**THEIRS, "max_attempts": 1}
    failed = (await by(ROOT).post("/tasks", json=task)).json()["id"]
    claim = hand.claim(failed)
    report = requests.Failed(
        failed, claim.attempt, f"no {SECRET}", 0.1, None, log_lines=[SECRET], traceback=SECRET
    )
    hand.report(report)
    done = (await by(ROOT).post("/tasks", json=task)).json()["id"]
    hand.succeed(hand.claim(done), json.dumps({"word": SECRET}).encode())
    await by(ROOT).put("/schedules/daily", json={**THEIRS, "every_seconds": 3600})
    client = by(BLIND)
    paths = {
        f"/tasks/{failed}?logs=1&tracebacks=1": FullTaskDocument,
        f"/tasks/{done}": FullTaskDocument,
        f"/status/{done}": TaskStatus, f"/status/{failed}": TaskStatus,
        f"/task/{failed}/status": ProcessingStatus, f"/task/{done}/status": ProcessingStatus,
        "/tasks": TaskPage, "/tasks?summary=true": TaskPage,
        "/errors": ErrorGroupList,
        "/schedules/daily": ScheduleDocument, "/schedules?payloads=true": None,
        f"/tasks/{failed}/events": None, f"/tasks/{done}/events": None,
    }  # fmt: skip
    for path, model in paths.items():
        seen, hidden = await by(ROOT).get(path), await client.get(path)
        assert hidden.status_code == 200, path
        assert SECRET in seen.text, path
        assert SECRET not in hidden.text, path
        assert '"redacted":true' in hidden.text, path
        assert "redacted" not in seen.text, path
        if model is not None:
            model.model_validate_json(hidden.text)


async def heard(service: TaskService, one: Holder, position: Position) -> str:
    """The events of all tasks since a position, as a key gets them."""
    async with service.seen_by(Principal(one.key)).all_streams(position) as stream:
        frames = b""
        while stream.position.sequence < service._events.window.last or not frames:
            portion = await stream.next(10)
            assert isinstance(portion, Portion)
            key = (portion.start, portion.end)
            shared = stream.shared(key, partial(SharedFrames, portion))
            frames += shared.of(Wanted((), ())) or b"nothing"
    return frames.decode()


async def test_events_of_all_tasks_are_those_of_ones_types_without_what_is_in_them(
    by: By, service: TaskService, hand: Hand
) -> None:
    async with service.all_streams(None) as stream:
        start = stream.position
        ours = (await by(ROOT).post("/tasks", json=OURS)).json()["id"]
        theirs = (await by(ROOT).post("/tasks", json={**THEIRS, "max_attempts": 1})).json()["id"]
        claim = hand.claim(theirs)
        hand.ask(requests.Progress(theirs, claim.attempt, 0.5, SECRET))
        hand.lose(claim, error=SECRET)
        while await stream.next(0.1) is not None:
            pass
        everything = await heard(service, ROOT, start)
        assert everything.count(SECRET) == 2
        assert "redacted" not in everything
        of_notes = await heard(service, NOTES, start)
        assert (ours in of_notes, theirs in of_notes) == (True, False)
        blind = await heard(service, BLIND, start)
        assert blind.count(ours) + blind.count(theirs) == everything.count("event: state")
        assert SECRET not in blind
        assert "event: progress" not in blind
        assert '"reason":null,"attempt":1,"redacted":true' in blind


async def test_a_tasks_own_stream_has_no_more_of_it(
    by: By, service: TaskService, hand: Hand
) -> None:
    task_id = (await by(ROOT).post("/tasks", json=THEIRS)).json()["id"]
    seen = {}
    async with (
        service.seen_by(Principal(ROOT.key)).task_stream(task_id, None) as whole,
        service.seen_by(Principal(BLIND.key)).task_stream(task_id, None) as blind,
    ):
        for stream in (whole, blind):
            assert isinstance(await stream.next(10), Snapshot)
        claim = hand.claim(task_id)
        hand.ask(requests.Progress(task_id, claim.attempt, 0.5, SECRET))
        hand.fail(claim, error=SECRET)
        for stream in (whole, blind):
            events: list[Event] = []
            while not stream.is_over:
                portion = await stream.next(10)
                assert isinstance(portion, Portion)
                events += portion.events
            seen[stream] = [(event.progress is not None, event.reason) for event in events]
    assert (True, "claimed") in seen[whole]
    assert [reason for is_progress, reason in seen[blind]] == [""] * len(seen[blind])
    assert len(seen[blind]) == len([one for one in seen[whole] if not one[0]])


async def test_followed_statistics_are_those_of_ones_types(
    by: By, service: TaskService, ids: tuple[str, str]
) -> None:
    async with (
        service.statistics_stream() as whole,
        service.seen_by(Principal(NOTES.key)).statistics_stream() as narrow,
    ):
        frames = [await stream.next(5) for stream in (whole, narrow)]
        shown = [
            stream.shown(frame, statistics_frame)
            for stream, frame in zip((whole, narrow), frames, strict=True)
            if frame is not None
        ]
    assert (b'"nothing"' in shown[0], b'"note"' in shown[0]) == (True, True)
    assert (b'"nothing"' in shown[1], b'"note"' in shown[1]) == (False, True)


async def test_without_payloads_nothing_is_searched(by: By, ids: tuple[str, str]) -> None:
    for call in ("GET /tasks?q=sesame", "GET /tasks/count?q=payload.a=x", "GET /tasks?q=2f"):
        answer = await called(by(BLIND), call, ids[0])
        assert answer.status_code == 403
        assert "`payloads`" in answer.json()["detail"]
    for verb in ("cancel", "run", "retry", "delete"):
        for more in ({}, {"dry_run": True}):
            answer = await by(BLIND).post(f"/tasks/{verb}", json={"q": SECRET, **more})
            assert answer.status_code == 403


async def test_verbs_show_no_payload_to_a_key_without_payloads(
    by: By, ids: tuple[str, str]
) -> None:
    for call in ("POST /tasks/{}/run", "POST /tasks/{}/cancel", "POST /tasks/{}/retry"):
        answer = await called(by(BLIND), call, ids[1])
        assert answer.is_success, answer.text
        assert SECRET not in answer.text
    answer = await by(BLIND).post("/tasks", json=THEIRS)
    assert answer.json()["redacted"] is True


async def test_whether_a_hidden_payload_fits_another_type_is_not_found_out(
    by: By, ids: tuple[str, str]
) -> None:
    for call in ('PATCH /tasks/{} {"type":"slow"}', 'POST /tasks/{}/retry {"new_type":"note"}'):
        answer = await called(by(BLIND), call, ids[1])
        assert answer.status_code == 403
    answer = await by(BLIND).patch(f"/tasks/{ids[1]}", json={"type": "slow", "payload": {"a": 1}})
    assert answer.status_code == 200


# -- one's own ------------------------------------------------------------------------------------


async def test_a_submitter_cancels_and_retries_its_own_tasks_only(by: By) -> None:
    task = {**OURS, "delay_seconds": 900}
    mine = (await submitted(by(SHOP), **task))["id"]
    nobodys = (await submitted(by(ROOT), **task))["id"]
    for call in ("POST /tasks/{}/cancel", "POST /tasks/{}/retry", "POST /retry-task/{}"):
        for task_id, who in ((mine, CART), (nobodys, SHOP)):
            answer = await called(by(who), call, task_id)
            assert answer.status_code == 403, answer.text
            assert "the role operator" in answer.json()["detail"]
            assert (await called(by(who), "GET /tasks/{}", task_id)).status_code == 200
    assert (await called(by(SHOP_AGAIN), "POST /tasks/{}/cancel", mine)).status_code == 200
    assert (await called(by(SHOP), "POST /tasks/{}/retry", mine)).status_code == 202
    for call in ("POST /tasks/{}/run", "DELETE /tasks/{}"):
        assert (await called(by(SHOP), call, mine)).status_code == 403


async def test_a_key_that_only_submits_does_not_look(by: By, ids: tuple[str, str]) -> None:
    accepted = await by(SUBMITS).post("/tasks?wait=0", json=THEIRS)
    assert (accepted.status_code, SECRET in accepted.text) == (202, False)
    for call in ("GET /tasks", "GET /tasks/{}", "POST /tasks/{}/cancel", "GET /metrics"):
        answer = await called(by(SUBMITS), call, accepted.json()["id"])
        assert answer.status_code == 403
