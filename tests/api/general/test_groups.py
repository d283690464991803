"""Batches with `then`, `GET /groups/{id}`, and the tasks that belong to a task."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from afterwards.api.schemas.groups import GroupDocument
from afterwards.api.schemas.task_lists import TaskPage
from afterwards.api.schemas.tasks import Cancellation, FullTaskDocument, TaskList
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.requests import SubmitChildren, Succeeded
from tests.api.general.conftest import NOTE, Hand, shown, submitted
from tests.registry.peers import make_task

pytestmark = pytest.mark.anyio

THEN = {"type": "nothing", "payload": {"total": True}}


async def batch(api: httpx.AsyncClient, size: int = 2, **then: Any) -> tuple[list[str], Any]:
    """The ids of the members of a group, and the document of the task that follows them."""
    body = {"tasks": [NOTE] * size, "then": {**THEN, **then}}
    answer = await api.post("/tasks/batch", json=body)
    assert answer.status_code == 202, answer.text
    TaskList.model_validate_json(answer.content)
    document = answer.json()
    return [task["id"] for task in document["tasks"]], document["then"]


async def group(api: httpx.AsyncClient, group_id: str) -> Any:
    answer = await api.get(f"/groups/{group_id}")
    assert answer.status_code == 200, answer.text
    GroupDocument.model_validate_json(answer.content)
    return answer.json()


async def test_a_batch_is_accepted_with_the_task_that_follows_it(api: httpx.AsyncClient) -> None:
    members, then = await batch(api)

    assert (then["status"], then["run_at"]) == ("scheduled", None)
    assert then["waiting_for"] == {"group": then["id"]}
    assert {(await shown(api, member))["group"] for member in members} == {then["id"]}
    whole = await shown(api, then["id"])
    FullTaskDocument.model_validate(whole)
    assert whole["follows"] == {"group": then["id"], "on": "success", "size": 2}
    assert (await shown(api, members[0]))["follows"] is None


async def test_a_batch_without_then_is_no_group(api: httpx.AsyncClient) -> None:
    answer = (await api.post("/tasks/batch", json={"tasks": [NOTE]})).json()

    assert answer["then"] is None
    assert answer["tasks"][0]["group"] is None
    found = await api.get(f"/groups/{answer['tasks'][0]['id']}")
    assert found.status_code == 404


async def test_a_group_says_how_far_it_is(api: httpx.AsyncClient, hand: Hand) -> None:
    members, then = await batch(api, 4, on="finished")
    hand.succeed(hand.claim(members[0]))
    hand.fail(hand.claim(members[1]))
    await api.post("/tasks/cancel", json={"ids": [members[2]]})
    hand.stop(hand.claim(members[2]))

    found = await group(api, then["id"])

    assert {name: found[name] for name in ("id", "on", "size")} == {
        "id": then["id"],
        "on": "finished",
        "size": 4,
    }
    numbers = ("finished", "succeeded", "failed", "cancelled")
    assert [found[name] for name in numbers] == [3, 1, 1, 1]
    assert found["then"]["waiting_for"] == {"group": then["id"]}
    hand.succeed(hand.claim(members[3]))
    found = await group(api, then["id"].upper())
    assert (found["finished"], found["then"]["waiting_for"]) == (4, None)
    assert found["then"]["run_at"] is not None


async def test_members_and_children_are_listed_counted_and_cancelled_together(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    members, then = await batch(api)
    await submitted(api)
    query = {"group": then["id"].upper(), "order": "created"}

    page = await api.get("/tasks", params=query)
    TaskPage.model_validate_json(page.content)
    count = await api.get("/tasks/count", params={"group": then["id"]})
    cancelled = await api.post("/tasks/cancel", json={"group": then["id"]})

    assert [task["id"] for task in page.json()["tasks"]] == members[::-1]
    assert count.json() == {"count": 2, "exact": True}
    assert (cancelled.json()["matched"], cancelled.json()["cancelled"]) == (2, 2)
    assert (await shown(api, then["id"]))["status"] == "cancelled"


async def test_a_parent_and_its_children_know_each_other(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    parent = (await submitted(api))["id"]
    claim = hand.claim(parent)
    child, other = make_task(type="nothing"), make_task(type="nothing")

    hand.report(Succeeded(parent, claim.attempt, b"{}", 0.1, children=(child, other)))

    assert (await shown(api, child.id))["parent"] == parent
    whole = await shown(api, parent)
    assert (whole["children"], whole["parent"]) == (2, None)
    listed = await api.get("/tasks", params={"parent": parent, "limit": 1})
    assert [task["id"] for task in listed.json()["tasks"]] == [other.id]
    further = await api.get(f"/tasks?parent={parent}&limit=1&cursor={listed.json()['next']}")
    assert [task["id"] for task in further.json()["tasks"]] == [child.id]


@pytest.mark.parametrize(
    ("then", "pointer"),
    [
        ({"type": "letter"}, "#/then/type"),
        ({"type": "note", "payload": {}}, "#/then/payload/body"),
        ({**THEN, "delay_seconds": 1}, "#/then/delay_seconds"),
        ({**THEN, "run_at": "2030-01-01T00:00:00Z"}, "#/then/run_at"),
        ({**THEN, "on": "failure"}, "#/then/on"),
    ],
)
async def test_a_mistake_in_then_is_named_and_nothing_is_stored(
    api: httpx.AsyncClient, then: Any, pointer: str
) -> None:
    answer = await api.post("/tasks/batch", json={"tasks": [NOTE], "then": then})

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert (await api.get("/tasks")).json()["tasks"] == []


async def test_a_repeated_batch_is_answered_with_its_follower(api: httpx.AsyncClient) -> None:
    body = {"tasks": [NOTE] * 2, "then": THEN}
    headers = {"Idempotency-Key": "k"}
    first = (await api.post("/tasks/batch", json=body, headers=headers)).json()

    again = await api.post("/tasks/batch", json=body, headers=headers)
    other = await api.post("/tasks/batch", json={"tasks": [NOTE] * 2}, headers=headers)

    assert again.headers["idempotent-replayed"] == "true"
    assert [task["id"] for task in again.json()["tasks"]] == [t["id"] for t in first["tasks"]]
    assert again.json()["then"]["id"] == first["then"]["id"]
    assert other.status_code == 422


@pytest.mark.parametrize("name", ["parent", "group"])
async def test_what_is_no_id_is_refused(api: httpx.AsyncClient, name: str) -> None:
    for answer in (
        await api.get("/tasks", params={name: "x"}),
        await api.post("/tasks/cancel", json={name: "x"}),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == f"#/{name}"
    unknown = await api.get("/tasks", params={name: str(uuid.uuid4())})
    assert unknown.json()["tasks"] == []


# -- cancelling with what belongs to a task --------------------------------------------------------


def submit(hand: Hand, parent: Claim, *, executor: str = "none") -> str:
    """A child that waits, or runs."""
    child = make_task(type="nothing", executor=executor)
    assert hand.ask(SubmitChildren(parent.task_id, parent.attempt, [child])) is None
    return child.id


async def cancelled(api: httpx.AsyncClient, task_id: str, children: str = "1") -> Any:
    answer = await api.post(f"/tasks/{task_id}/cancel", params={"children": children})
    assert answer.status_code == 200, answer.text
    Cancellation.model_validate_json(answer.content)
    return answer.json()


async def test_a_task_is_cancelled_with_all_its_descendants(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    parent = hand.claim((await submitted(api))["id"])
    done, running = submit(hand, parent, executor="async"), submit(hand, parent, executor="async")
    below_done = submit(hand, hand.claim(done))
    below_running = submit(hand, hand.claim(running))
    hand.succeed(hand.table[done], b"{}")
    hand.succeed(parent, b"{}")
    stranger = (await submitted(api, delay_seconds=60))["id"]

    answer = await cancelled(api, parent.task_id)

    assert answer["outcome"] == "finished"
    assert answer["children"] == {"cancelled": 2, "requested": 1, "more": False}
    states = [(await shown(api, one))["status"] for one in (below_done, below_running, stranger)]
    assert states == ["cancelled", "cancelled", "scheduled"]
    assert (await shown(api, running))["cancel_requested"] is True
    log = (await api.get("/activity")).json()["entries"]
    entry = log[0]
    assert (entry["object"], entry["count"], entry["outcome"]) == ("tasks", 3, "done")
    assert entry["name"] == f"descendants of {parent.task_id}"


async def test_children_are_left_alone_unless_asked_for(api: httpx.AsyncClient, hand: Hand) -> None:
    parent = hand.claim((await submitted(api))["id"])
    child = submit(hand, parent)
    hand.succeed(parent, b"{}")

    answer = await cancelled(api, parent.task_id, "0")

    assert answer["children"] is None
    assert (await shown(api, child))["status"] == "pending"


async def test_a_follower_is_cancelled_with_its_group(api: httpx.AsyncClient) -> None:
    members, then = await batch(api, 3, on="finished")

    answer = await cancelled(api, then["id"])

    assert answer["outcome"] == "prevented"
    assert answer["children"] == {"cancelled": 3, "requested": 0, "more": False}
    assert {(await shown(api, member))["status"] for member in members} == {"cancelled"}


async def test_a_flag_that_is_none_is_refused(api: httpx.AsyncClient) -> None:
    task_id = (await submitted(api))["id"]

    answer = await api.post(f"/tasks/{task_id}/cancel?children=yes")

    assert answer.status_code == 422
    assert (await shown(api, task_id))["status"] == "pending"
