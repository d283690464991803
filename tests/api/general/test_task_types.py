"""`/task-types` and `/stats`."""

from __future__ import annotations

import httpx
import pytest

from afterwards.api.schemas.task_types import StatisticsDocument, TaskTypeDocument, TaskTypeList
from afterwards.service.service import TaskService
from tests.api.general.conftest import Hand, shown, submitted

pytestmark = pytest.mark.anyio


async def test_every_type_is_listed_with_its_limits_its_payload_and_its_tasks(
    api: httpx.AsyncClient,
) -> None:
    await submitted(api)
    answer = await api.get("/task-types/")
    TaskTypeList.model_validate_json(answer.content)
    note, nothing, slow = answer.json()["task_types"]
    assert [note["name"], nothing["name"], slow["name"]] == ["note", "nothing", "slow"]
    assert note["payload_schema"]["required"] == ["body"]
    assert note["tasks"]["pending"] == 1
    assert set(note["tasks"]) == {
        "scheduled", "pending", "processing", "success", "failed", "cancelled",
    }  # fmt: skip
    assert (note["max_attempts"], note["timeout_seconds"]) == (3, 60.0)
    assert (nothing["timeout_seconds"], slow["executor"]) == (5.0, "thread")
    assert (note["max_concurrency"], note["rate_limit"], note["paused"]) == (None, None, False)


async def test_a_paused_type_accepts_tasks_and_starts_none(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    for _ in range(2):
        answer = await api.post("/task-types/note/pause")
        assert answer.status_code == 200
        assert TaskTypeDocument.model_validate_json(answer.content).paused
    waiting = (await submitted(api))["id"]
    other = (await submitted(api, type="nothing"))["id"]
    hand.claim(other)
    assert (await shown(api, waiting))["status"] == "pending"
    assert (await api.get("/stats")).json()["paused_types"] == ["note"]

    for _ in range(2):
        answer = await api.post("/task-types/note/resume/")
        assert (answer.status_code, answer.json()["paused"]) == (200, False)
    hand.claim(waiting)
    assert (await api.get("/task-types/note")).json()["tasks"]["processing"] == 1


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/pause"), ("POST", "/resume")])
async def test_an_unknown_type_is_not_found_and_the_known_ones_are_named(
    api: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await api.request(method, f"/task-types/letter{path}")
    assert answer.status_code == 404
    assert answer.json()["detail"] == (
        "There is no task type 'letter'; there are note, nothing, slow"
    )


async def test_the_numbers_are_those_of_the_whole_service(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    done = (await submitted(api))["id"]
    hand.succeed(hand.claim(done), b"{}")
    await submitted(api, type="nothing", delay_seconds=60)
    answer = await api.get("/stats")
    StatisticsDocument.model_validate_json(answer.content)
    stats = answer.json()
    assert (stats["submitted"], stats["workers"], stats["schedules"]) == (2, 2, 0)
    assert (stats["tasks"]["success"], stats["tasks"]["scheduled"]) == (1, 1)
    assert stats["by_type"]["nothing"]["scheduled"] == 1
    assert stats["slots"]["async"] == {"busy": 0, "free": 10, "stuck": 0}
    assert stats["uptime_seconds"] >= 0
    assert stats["journal_bytes"] == 0


async def test_a_paused_type_that_is_gone_can_be_resumed(
    api: httpx.AsyncClient, service: TaskService
) -> None:
    await service.operations.pause("gone")

    assert (await api.post("/task-types/gone/resume")).status_code == 204

    assert (await api.get("/stats")).json()["paused_types"] == []
    assert (await api.post("/task-types/gone/resume")).status_code == 404
