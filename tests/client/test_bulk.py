"""Verbs for many tasks: what both clients send, and what they make of the answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from afterwards_client import (
    BulkRetry,
    ConnectionFailed,
    InvalidArgument,
    Unavailable,
    UnexpectedAnswer,
)
from tests.client.conftest import Handler
from tests.client.documents import bulk, problem

VERBS = {
    "retry_many": ("/below/tasks/retry", "retried"),
    "cancel_many": ("/below/tasks/cancel", "cancelled"),
    "run_many": ("/below/tasks/run", "run"),
    "delete_many": ("/below/tasks/delete", "deleted"),
}


def done(**members: Any) -> dict[str, Any]:
    """An answer to any of the verbs."""
    return bulk(**{"retried": 0, "cancelled": 0, "requested": 0, "run": 0, "deleted": 0, **members})


def sent(service: Handler) -> list[dict[str, Any]]:
    return [json.loads(request.content) for request in service.requests]


def test_many_are_retried_as_is_said(client: Any, service: Handler) -> None:
    service.answer(200, bulk(matched=5, retried=3, skipped=2, more=True, later_member=1))
    after = datetime(2026, 11, 21, tzinfo=UTC)
    done = client.retry_many(
        type="report",
        status=("failed", "cancelled"),
        created_after=after,
        limit=5,
        payload={"a": 1},
        new_type="file",
    )
    assert done == BulkRetry(
        dry_run=False, matched=5, retried=3, skipped=2, more=True, interrupted=None
    )
    (request,) = service.requests
    assert (request.method, request.url.path) == ("POST", "/below/tasks/retry")
    assert json.loads(request.content) == {
        "type": "report",
        "status": ["failed", "cancelled"],
        "created_after": after.isoformat(),
        "limit": 5,
        "payload": {"a": 1},
        "new_type": "file",
        "dry_run": False,
    }


def test_many_are_cancelled_as_is_said(client: Any, service: Handler) -> None:
    service.answer(200, bulk(matched=3, cancelled=2, requested=1, interrupted="full"))
    before = datetime(2026, 11, 21, tzinfo=UTC)
    done = client.cancel_many(status="pending", created_before=before)
    assert (done.matched, done.cancelled, done.requested, done.interrupted) == (3, 2, 1, "full")
    (request,) = service.requests
    assert (request.method, request.url.path) == ("POST", "/below/tasks/cancel")
    assert json.loads(request.content) == {
        "status": "pending",
        "created_before": before.isoformat(),
        "dry_run": False,
    }


@pytest.mark.parametrize("verb", VERBS)
def test_a_bulk_verb_goes_to_its_place_with_all_conditions(
    client: Any, service: Handler, verb: str
) -> None:
    path, member = VERBS[verb]
    service.answer(200, done(matched=7, **{member: 7}))
    finished = datetime(2026, 11, 21, tzinfo=UTC)
    answer = getattr(client, verb)(
        type=["report", "file"],
        labels={"tenant": "acme", "plan": None},
        q="payload.a=1",
        error="5f0c9a1be27d4c83",
        finished_after=finished,
        finished_before=finished,
    )
    assert getattr(answer, member) == 7
    assert service.requests[0].url.path == path
    assert sent(service) == [
        {
            "type": ["report", "file"],
            "label": ["tenant=acme", "plan"],
            "q": "payload.a=1",
            "error": "5f0c9a1be27d4c83",
            "finished_after": finished.isoformat(),
            "finished_before": finished.isoformat(),
            "dry_run": False,
        }
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_condition_is_refused_before_it_is_sent(
    client: Any, service: Handler, verb: str
) -> None:
    with pytest.raises(TypeError, match="'created_since' is no condition; there are status, type"):
        getattr(client, verb)(created_since=datetime.now(UTC))
    assert service.requests == []


@pytest.mark.parametrize("verb", VERBS)
def test_conditions_that_are_all_none_are_not_taken_for_all(
    client: Any, service: Handler, verb: str
) -> None:
    with pytest.raises(InvalidArgument, match="all its conditions are None"):
        getattr(client, verb)(type=None, error=None)
    assert service.requests == []
    service.answer(200, done(matched=3))
    assert getattr(client, verb)(type="report", error=None).matched == 3


def test_no_labels_are_sent_as_none_and_not_as_no_condition(client: Any, service: Handler) -> None:
    # The service refuses an empty list; without the member it would take up everything.
    service.answer(422, problem(422))
    with pytest.raises(Exception, match="No"):
        client.cancel_many(labels={})
    assert sent(service) == [{"label": [], "dry_run": False}]


def test_more_than_a_request_takes_up_is_done_in_parts(client: Any, service: Handler) -> None:
    service.answer(200, done(matched=10_000, retried=9_990, skipped=10, more=True))
    service.answer(200, done(matched=2_345, retried=2_345, more=True))
    answer = client.retry_many(type="report", limit=12_345)
    assert (answer.matched, answer.retried, answer.skipped) == (12_345, 12_335, 10)
    assert answer.more
    assert [body["limit"] for body in sent(service)] == [10_000, 2_345]


def test_parts_end_when_there_is_no_more(client: Any, service: Handler) -> None:
    service.answer(200, done(matched=10_000, run=10_000, more=True))
    service.answer(200, done(matched=3, run=3))
    answer = client.run_many(limit=1_000_000)
    assert (answer.matched, answer.run, answer.more) == (10_003, 10_003, False)


def test_parts_end_when_one_has_found_nothing(client: Any, service: Handler) -> None:
    # Running tasks that were asked to stop match until they have ended.
    service.answer(200, done(matched=10_000, requested=10_000, more=True))
    service.answer(200, done(matched=0, more=True))
    assert client.cancel_many(limit=20_000).requested == 10_000
    assert len(service.requests) == 2


def test_without_a_limit_one_request_is_all(client: Any, service: Handler) -> None:
    service.answer(200, done(matched=1_000, deleted=1_000, more=True))
    answer = client.delete_many(status="success")
    assert (answer.deleted, answer.more) == (1_000, True)


def test_ids_are_sent_once_each_in_parts(client: Any, service: Handler) -> None:
    ids = [str(number) for number in range(1_500)]
    service.answer(200, done(matched=1_000, deleted=999, skipped=1))
    service.answer(200, done(matched=500, deleted=500))
    answer = client.delete_many(ids=[*ids, *ids[:100]])
    assert (answer.matched, answer.deleted, answer.skipped, answer.more) == (1_500, 1_499, 1, False)
    assert [body["ids"] for body in sent(service)] == [ids[:1_000], ids[1_000:]]


def test_no_ids_are_not_taken_for_all(client: Any, service: Handler) -> None:
    service.answer(422, problem(422))
    with pytest.raises(Exception, match="No"):
        client.cancel_many(ids=[])
    assert sent(service) == [{"ids": [], "dry_run": False}]


@pytest.mark.parametrize("is_cut", [False, True])
def test_what_is_done_before_the_service_goes_away_is_told(
    client: Any, service: Handler, is_cut: bool
) -> None:
    service.answer(200, done(matched=10_000, cancelled=10_000, more=True))
    if is_cut:
        service.answers.append(httpx.ReadError("cut"))
    else:
        service.answer(503, problem(503, "The service stops"))
    answer = client.cancel_many(limit=30_000)
    assert (answer.cancelled, answer.more) == (10_000, True)
    assert ("cut" if is_cut else "The service stops") in answer.interrupted


def test_a_first_part_that_is_refused_is_an_error(client: Any, service: Handler) -> None:
    service.answer(503, problem(503, "The service stops"))
    with pytest.raises(Unavailable, match="The service stops"):
        client.cancel_many(limit=30_000)


def test_a_part_that_the_service_has_not_ended_is_the_last(client: Any, service: Handler) -> None:
    service.answer(200, done(matched=10, retried=10, more=True, interrupted="full"))
    answer = client.retry_many(limit=30_000)
    assert (answer.retried, answer.interrupted) == (10, "full")
    assert len(service.requests) == 1


def test_a_dry_run_counts_all_in_one_request(client: Any, service: Handler) -> None:
    service.answer(200, done(dry_run=True, matched=40_000, more=True))
    assert client.retry_many(limit=100, dry_run=True).matched == 40_000
    assert len(service.requests) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_a_bulk_verb_is_sent_again_only_if_it_counts(
    client: Any, service: Handler, verb: str
) -> None:
    service.answers = [httpx.ReadError("cut")]
    with pytest.raises(ConnectionFailed):
        getattr(client, verb)()
    service.answers = [httpx.ReadError("cut")]
    service.answer(200, done(dry_run=True, matched=7))
    assert getattr(client, verb)(dry_run=True).matched == 7
    assert len(service.requests) == 3


def test_a_bulk_verb_may_take_its_time(client: Any, service: Handler) -> None:
    service.answer(200, bulk(retried=0))
    client.retry_many()
    assert service.requests[0].extensions["timeout"]["read"] == 65.0


def test_an_answer_that_says_less_is_unexpected(client: Any, service: Handler) -> None:
    service.answer(200, bulk())
    with pytest.raises(UnexpectedAnswer, match="retried"):
        client.retry_many()
