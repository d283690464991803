"""Batches that a task follows, groups, and what belongs to a task."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import httpx
import pytest

from afterwards.api.schemas.groups import GroupDocument
from afterwards.api.schemas.tasks import Cancellation
from afterwards_client import (
    Batch,
    CancelledChildren,
    ConnectionFailed,
    GroupWait,
    InvalidArgument,
    NewTask,
    UnexpectedAnswer,
)
from tests.client.conftest import Handler
from tests.client.documents import ID, details, task
from tests.client.test_operations import example

THEN = task(id="t", status="scheduled", run_at=None, waiting_for={"group": "t"})


def test_a_batch_is_submitted_with_the_task_that_follows_it(client: Any, service: Handler) -> None:
    members = [task(id="a", group="t"), task(id="b", group="t")]
    service.answer(202, {"tasks": members, "then": THEN})
    total = NewTask("report", {"name": "n"}, priority=9)
    batch = client.submit_many([NewTask("file"), NewTask("file")], then=total, on="finished")
    assert [one.id for one in batch] == ["a", "b"]
    assert {one.group for one in batch} == {batch.then.id} == {"t"}
    assert (batch.then.run_at, batch.then.waiting_for) == (None, GroupWait("t"))
    (request,) = service.requests
    assert json.loads(request.content) == {
        "tasks": [{"type": "file"}, {"type": "file"}],
        "then": {"type": "report", "payload": {"name": "n"}, "priority": 9, "on": "finished"},
    }


def test_the_condition_of_its_start_is_left_to_the_service_unless_it_is_said(
    client: Any, service: Handler
) -> None:
    service.answer(202, {"tasks": [task()], "then": THEN})
    client.submit_many([NewTask("file")], then=NewTask("report"))
    assert json.loads(service.requests[0].content)["then"] == {"type": "report"}


def test_a_condition_without_a_task_that_follows_is_not_sent(client: Any, service: Handler) -> None:
    with pytest.raises(InvalidArgument, match=r"^The condition on='finished' cannot be sent: "):
        client.submit_many([NewTask("file")], on="finished")
    assert service.requests == []


@pytest.mark.parametrize("then", [{}, {"then": None}], ids=["older service", "none"])
def test_a_batch_that_no_task_follows_has_none(
    client: Any, service: Handler, then: dict[str, Any]
) -> None:
    service.answer(202, {"tasks": [task()], **then})
    assert client.submit_many([NewTask("notification")]).then is None


def test_a_batch_with_the_task_that_follows_is_one_however_often_it_is_sent(
    client: Any, service: Handler
) -> None:
    service.answers = [httpx.ReadError("cut")]
    service.answer(202, {"tasks": [task()], "then": THEN})
    assert client.submit_many([NewTask("file")], then=NewTask("report")).then.id == "t"
    assert len({request.headers["Idempotency-Key"] for request in service.requests}) == 1
    assert len({request.content for request in service.requests}) == 1


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda batch: pickle.loads(pickle.dumps(batch))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_batch_is_a_sequence_and_a_value(duplicate: Any) -> None:
    batch = Batch.of({"tasks": [task(id="a"), task(id="b")], "then": THEN})
    assert (len(batch), batch[0].id, [one.id for one in batch[1:]]) == (2, "a", ["b"])
    assert batch[-1] in batch
    assert duplicate(batch) == batch
    assert batch != Batch(batch.tasks)


def test_a_group_tells_how_far_it_is(client: Any, service: Handler) -> None:
    service.answer(200, example(GroupDocument, on="finished", finished=2, succeeded=1, failed=1))
    found = client.group(ID)
    assert (found.on, found.size, found.finished) == ("finished", 3, 2)
    assert (found.succeeded, found.failed, found.cancelled) == (1, 1, 0)
    assert found.then.waiting_for == GroupWait(found.id)
    assert found.document["later_member"] == 1
    (request,) = service.requests
    assert (request.method, request.url.path) == ("GET", f"/below/groups/{ID}")


def test_a_group_is_asked_for_again_when_it_was_not_answered(client: Any, service: Handler) -> None:
    service.answers = [httpx.ReadError("cut")]
    service.answer(200, example(GroupDocument))
    assert client.group(ID).size == 3


def test_what_is_no_group_and_no_id_is_said(client: Any, service: Handler) -> None:
    service.answer(200, {"id": ID})
    with pytest.raises(UnexpectedAnswer, match="KeyError: 'on'"):
        client.group(ID)
    with pytest.raises(InvalidArgument, match=r"^The group id '\.\.' cannot be sent: "):
        client.group("..")


def test_a_task_is_cancelled_with_what_belongs_to_it(client: Any, service: Handler) -> None:
    children = {"cancelled": 3, "requested": 1, "more": False, "later_member": 1}
    service.answer(200, example(Cancellation, children=children))
    cancellation = client.cancel(ID, children=True)
    assert cancellation.outcome == "finished"
    assert cancellation.children == CancelledChildren(cancelled=3, requested=1, more=False)
    (request,) = service.requests
    assert (request.url.path, request.url.query) == (f"/below/tasks/{ID}/cancel", b"children=1")
    assert request.extensions["timeout"]["read"] >= 60


def test_a_task_is_cancelled_alone_unless_it_is_said(client: Any, service: Handler) -> None:
    service.answer(200, example(Cancellation))
    assert client.cancel(ID).children is None
    assert service.requests[0].url.query == b""


def test_a_cancellation_of_many_is_not_sent_again_when_it_was_not_answered(
    client: Any, service: Handler
) -> None:
    service.answers = [httpx.ReadError("cut")]
    with pytest.raises(ConnectionFailed):
        client.cancel(ID, children=True)
    assert len(service.requests) == 1


def test_a_task_counts_its_children(client: Any, service: Handler) -> None:
    service.answer(200, details(children=2))
    service.answer(200, details())
    assert [client.get(ID).children, client.get(ID).children] == [2, 0]
