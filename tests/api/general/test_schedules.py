"""`/schedules`: tasks that come again."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from afterwards.api.schemas.schedules import ScheduleDocument, SchedulePage
from tests.api.general.conftest import NOTE

pytestmark = pytest.mark.anyio

DAILY = {**NOTE, "cron": "30 6 * * *", "timezone": "Europe/Berlin"}


async def put(api: httpx.AsyncClient, name: str = "daily", **members: Any) -> httpx.Response:
    return await api.put(f"/schedules/{name}", json={**DAILY, **members})


async def test_a_schedule_is_made_then_replaced_and_tells_when_it_comes_next(
    api: httpx.AsyncClient,
) -> None:
    made = await put(api)
    assert made.status_code == 201
    assert made.url.join(made.headers["location"]).path == "/schedules/daily"
    ScheduleDocument.model_validate_json(made.content)
    document = made.json()
    assert (document["type"], document["payload"]) == ("note", {"body": "Hello"})
    assert (document["cron"], document["every_seconds"]) == ("30 6 * * *", None)
    assert (document["priority"], document["max_attempts"], document["catch_up"]) == (4, 3, False)
    runs = [datetime.fromisoformat(run) for run in document["next_runs"]]
    assert len(runs) == 5
    assert runs == sorted(runs)
    berlin = {run.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M:%S") for run in runs}
    assert berlin == {"06:30:00"}

    replaced = await put(api, priority=9, max_attempts=1, timeout_seconds=2.5, catch_up=True)
    assert replaced.status_code == 200
    document = replaced.json()
    assert (document["priority"], document["max_attempts"]) == (9, 1)
    assert (document["timeout_seconds"], document["catch_up"]) == (2.5, True)
    assert (await api.get("/schedules/daily/")).json()["priority"] == 9


async def test_what_became_of_its_latest_tasks_is_told_when_asked_for(
    api: httpx.AsyncClient,
) -> None:
    await put(api, cron=None, every_seconds=1)
    results: list[dict[str, str]] = []
    async with asyncio.timeout(20):
        while not results:
            answer = await api.get("/schedules?results=true")
            SchedulePage.model_validate_json(answer.content)
            [schedule] = answer.json()["schedules"]
            results = schedule["results"]
            await asyncio.sleep(0.05)
    task = (await api.get(f"/tasks/{results[-1]['task_id']}")).json()
    assert (task["schedule"], task["run_at"]) == ("daily", results[-1]["due"])
    assert results[-1]["status"] == "pending"
    assert "results" not in (await api.get("/schedules")).json()["schedules"][0]


async def test_schedules_are_listed_by_name_and_can_be_deleted(api: httpx.AsyncClient) -> None:
    for name in ("b", "a.b-c_D9", "c"):
        await put(api, name)
    answer = await api.get("/schedules")
    SchedulePage.model_validate_json(answer.content)
    assert [one["name"] for one in answer.json()["schedules"]] == ["a.b-c_D9", "b", "c"]
    assert (await api.get("/stats")).json()["schedules"] == 3
    assert (await api.delete("/schedules/b")).status_code == 204
    assert (await api.delete("/schedules/b")).status_code == 404
    assert [one["name"] for one in (await api.get("/schedules")).json()["schedules"]] == [
        "a.b-c_D9",
        "c",
    ]


async def test_a_list_has_payloads_only_if_they_are_asked_for(api: httpx.AsyncClient) -> None:
    await put(api)
    [listed] = (await api.get("/schedules")).json()["schedules"]
    [whole] = (await api.get("/schedules?payloads=true")).json()["schedules"]

    assert (
        whole
        == (await api.get("/schedules/daily")).json()
        == {**listed, "payload": NOTE["payload"]}
    )
    assert "payload" not in listed


@pytest.mark.parametrize("query", ["limit=2", "limit=2&payloads=true"])
async def test_a_list_goes_on_from_page_to_page(api: httpx.AsyncClient, query: str) -> None:
    for name in "abcde":
        await put(api, name)
    pages = [await api.get(f"/schedules?{query}")]
    while (following := pages[-1].links.get("next")) is not None:
        assert pages[-1].json()["next"] in following["url"]
        pages.append(await api.get(str(pages[-1].url.join(following["url"]))))

    documents = [page.json()["schedules"] for page in pages]
    assert [[one["name"] for one in page] for page in documents] == [["a", "b"], ["c", "d"], ["e"]]
    assert {"payload" in one for page in documents for one in page} == {"payloads" in query}
    assert pages[-1].json()["next"] is None


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "cursor=YQ==",
        "cursor=Lg",
        "cursor=x",
        "page=2",
        "payloads=2",
        "limit=1&limit=2",
    ],
)
async def test_a_query_that_means_nothing_is_refused(api: httpx.AsyncClient, query: str) -> None:
    assert (await api.get(f"/schedules?{query}")).status_code == 422


async def test_a_paused_schedule_has_no_next_runs(api: httpx.AsyncClient) -> None:
    made = await put(api, paused=True)
    assert (made.json()["paused"], made.json()["next_runs"]) == (True, [])
    resumed = await api.post("/schedules/daily/resume")
    assert (resumed.status_code, len(resumed.json()["next_runs"])) == (200, 5)
    for _ in range(2):
        paused = await api.post("/schedules/daily/pause")
        assert (paused.json()["paused"], paused.json()["next_runs"]) == (True, [])


async def test_a_period_begins_when_the_schedule_is_made(api: httpx.AsyncClient) -> None:
    made = await api.put("/schedules/often", json={**NOTE, "every_seconds": 90})
    created, *runs = (
        datetime.fromisoformat(at).timestamp()
        for at in (made.json()["created_at"], *made.json()["next_runs"])
    )
    assert [round(run - created) for run in runs] == [90, 180, 270, 360, 450]


@pytest.mark.parametrize(
    ("members", "pointer", "message"),
    [
        ({"cron": None}, "#", "one of cron and every_seconds"),
        ({"every_seconds": 5}, "#", "one of cron and every_seconds"),
        ({"cron": "* * * *"}, "#/cron", "fields"),
        ({"cron": "0 0 30 2 *"}, "#/cron", "bad day-of-month"),
        ({"cron": "61 * * * *"}, "#/cron", "minute"),
        ({"timezone": "Europe/Atlantis"}, "#/timezone", "no time zone"),
        ({"timezone": "../../etc/passwd"}, "#/timezone", "no time zone"),
        ({"type": "letter"}, "#/type", "There is no task type"),
        ({"payload": {}}, "#/payload/body", "Field required"),
        ({"priority": 10}, "#/priority", "less than"),
        ({"cron": None, "every_seconds": 0.5}, "#/every_seconds", "greater than"),
        ({"label": "daily"}, "#/label", "Extra inputs"),
    ],
)
async def test_a_mistake_is_named_and_nothing_is_made(
    api: httpx.AsyncClient, members: Any, pointer: str, message: str
) -> None:
    answer = await put(api, **members)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert message.lower() in error["message"].lower()
    assert (await api.get("/schedules")).json()["schedules"] == []


@pytest.mark.parametrize("name", [".a", "a b", "é", "a" * 101, "a%2Fb", "a%0A", "%0A"])
async def test_a_name_that_cannot_be_one_is_refused(api: httpx.AsyncClient, name: str) -> None:
    answer = await put(api, name)
    assert answer.status_code in (404, 422)
    assert (await api.get("/schedules")).json()["schedules"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume")],
)
async def test_an_unknown_schedule_is_not_found(
    api: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await api.request(method, f"/schedules/daily{path}")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no schedule 'daily'"
