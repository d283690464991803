"""Groups of failed tasks: listed, looked at, and taken as a filter."""

from __future__ import annotations

import httpx
import pytest

from afterwards.api.schemas.error_groups import ErrorGroupDocument, ErrorGroupList
from tests.api.general.conftest import Hand, submitted

pytestmark = pytest.mark.anyio


async def failed(api: httpx.AsyncClient, hand: Hand, *errors: str) -> list[str]:
    ids = []
    for error in errors:
        task_id = (await submitted(api, max_attempts=1))["id"]
        hand.fail(hand.claim(task_id), error=error)
        ids.append(task_id)
    return ids


async def test_a_night_of_failures_is_a_few_groups_and_one_is_retried_by_its_id(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    ids = await failed(api, hand, "no 'a' in 1 s", "no 'b' in 2 s", "other")

    listed = (await api.get("/errors")).json()
    ErrorGroupList.model_validate(listed)
    assert listed["ungrouped"] == 0
    assert [(one["message"], one["count"]) for one in listed["groups"]] == [
        ("no '…' in # s", 2),
        ("other", 1),
    ]
    latest = (await api.get("/errors?order=latest&limit=1&type=note")).json()["groups"]
    assert [one["message"] for one in latest] == ["other"]
    assert (await api.get("/errors?type=none")).json() == {"groups": [], "ungrouped": 0}

    group = listed["groups"][0]
    assert group["sample_ids"] == [ids[1], ids[0]]
    shown = (await api.get(f"/errors/{group['id']}")).json()
    ErrorGroupDocument.model_validate(shown)
    assert shown == group
    page = (await api.get(f"/tasks?error={group['id']}&limit=1")).json()
    assert [task["id"] for task in page["tasks"]] == [ids[1]]

    wanted = {"error": group["id"]}
    dry = (await api.post("/tasks/retry", json={**wanted, "dry_run": True})).json()
    assert (dry["matched"], dry["retried"]) == (2, 0)
    assert (await api.post("/tasks/cancel", json=wanted)).json()["matched"] == 0
    done = (await api.post("/tasks/retry", json=wanted)).json()
    assert (done["matched"], done["retried"], done["more"]) == (2, 2, False)
    assert [one["message"] for one in (await api.get("/errors")).json()["groups"]] == ["other"]
    gone = await api.get(f"/errors/{group['id']}")
    assert (gone.status_code, group["id"] in gone.json()["detail"]) == (404, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/errors?order=name", 422),
        ("/errors?limit=0", 422),
        ("/errors?nothing=1", 422),
        ("/errors?type=a&type=b", 422),
        ("/errors/nothing", 404),
        ("/errors/5F0C9A1BE27D4C83", 404),
        ("/tasks?error=nothing", 422),
    ],
)
async def test_what_is_wrong_is_said(api: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await api.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )


async def test_a_bulk_verb_wants_the_id_of_a_group(api: httpx.AsyncClient) -> None:
    answer = await api.post("/tasks/retry", json={"error": "no"})
    assert answer.status_code == 422
    assert "#/error" in answer.json()["detail"]
