"""Both clients: what they send, and what they make of the answers."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import afterwards_client
from afterwards_client import (
    ApiError,
    AsyncClient,
    Client,
    Conflict,
    FieldError,
    Gone,
    Invalid,
    InvalidArgument,
    KeyWait,
    NewTask,
    NotFound,
    TaskDetails,
    Unavailable,
    UnexpectedAnswer,
)
from tests.client.conftest import URL, Handler
from tests.client.documents import AT, ID, details, problem, succeeded, summary, task


def test_the_clients_are_twins() -> None:
    def face(cls: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(cls, inspect.isfunction)
        return {
            name: [str(p) for p in inspect.signature(method).parameters.values()]
            for name, method in methods
            if not name.startswith("_")
        }

    assert face(Client) == face(AsyncClient)


def test_the_twins_are_described_alike() -> None:
    def described(cls: type) -> dict[str, str | None]:
        # How to leave an asynchronous generator early is a matter of its own.
        methods = inspect.getmembers(cls, inspect.isfunction)
        return {
            name: inspect.getdoc(method)
            for name, method in methods
            if not name.startswith("_") and name != "stream"
        }

    assert described(Client) == described(AsyncClient)


@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_requests_say_which_client_they_come_from(cls: type[Client | AsyncClient]) -> None:
    build = cls(URL)._http.build_request
    own = f"afterwards-client/{afterwards_client.__version__}"
    assert build("GET", URL).headers["User-Agent"] == own
    assert build("GET", URL, headers={"user-agent": "mine"}).headers["User-Agent"] == "mine"


def test_everything_public_is_exported() -> None:
    assert all(hasattr(afterwards_client, name) for name in afterwards_client.__all__)


def test_a_submission_is_one_post(client: Any, service: Handler) -> None:
    service.answer(202, task())
    submitted = client.submit("notification", {"message": "Hello"}, delay=1.5, priority=9)
    (request,) = service.requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/tasks")
    assert json.loads(request.content) == {
        "type": "notification",
        "payload": {"message": "Hello"},
        "delay_seconds": 1.5,
        "priority": 9,
    }
    assert request.headers["X-Key"] == "k"
    assert (submitted.id, submitted.status, submitted.is_finished) == (ID, "pending", False)
    assert submitted.created_at == datetime.fromisoformat(AT)


def test_a_submission_is_repeated_after_a_failure(client: Any, service: Handler) -> None:
    service.answers = [httpx.ReadError("cut")]
    service.answer(503, problem(503), **{"Retry-After": "0"})
    service.answer(202, task())
    assert client.submit("notification").id == ID
    assert len({request.headers["Idempotency-Key"] for request in service.requests}) == 1


def test_many_are_submitted_in_one_request(client: Any, service: Handler) -> None:
    service.answer(202, {"tasks": [task(id="a"), task(id="b")]})
    submitted = client.submit_many([NewTask("report", {"name": "n"}), NewTask("file")])
    assert [one.id for one in submitted] == ["a", "b"]
    (request,) = service.requests
    assert request.url.path == "/below/tasks/batch"
    assert "Idempotency-Key" in request.headers
    assert json.loads(request.content) == {
        "tasks": [{"type": "report", "payload": {"name": "n"}}, {"type": "file"}]
    }


def test_a_task_comes_with_its_history(client: Any, service: Handler) -> None:
    service.answer(200, succeeded(later_member=1))
    found = client.get(ID)
    assert isinstance(found, TaskDetails)
    assert found.succeeded
    assert found.history[0].run_seconds == 2.0
    assert found.document["later_member"] == 1


def test_log_lines_come_when_they_are_asked_for(client: Any, service: Handler) -> None:
    service.answer(200, succeeded(log_lines=["charging", "charged"]))
    service.answer(200, succeeded(log_lines=[]))
    service.answer(200, succeeded())
    found = [client.get(ID, logs=True), client.get(ID, logs=True), client.get(ID)]
    assert [one.log_lines for one in found] == [("charging", "charged"), (), None]
    asked = [dict(request.url.params) for request in service.requests]
    assert asked == [{"logs": "1"}, {"logs": "1"}, {}]


def test_a_task_has_its_labels_and_says_whether_it_is_retrying(
    client: Any, service: Handler
) -> None:
    service.answer(202, task(labels={"tenant": "acme"}))
    submitted = client.submit("notification", labels={"tenant": "acme"})
    assert json.loads(service.requests[0].content)["labels"] == {"tenant": "acme"}
    assert (submitted.labels, submitted.retrying) == ({"tenant": "acme"}, False)
    service.answer(200, details(status="scheduled", retrying=True))
    assert client.get(ID).retrying
    former = details()
    del former["labels"], former["retrying"]
    service.answer(200, former)
    assert client.get(ID).labels == {}


def test_a_task_has_its_keys_and_says_what_it_waits_for(client: Any, service: Handler) -> None:
    waits = {"concurrency_key": "acme", "holders": 2}
    service.answer(202, task(concurrency_key="acme", unique_key="u"))
    submitted = client.submit(
        "notification", concurrency_key="acme", unique_key="u", on_conflict="replace"
    )
    assert json.loads(service.requests[0].content) == {
        "type": "notification",
        "concurrency_key": "acme",
        "unique_key": "u",
        "on_conflict": "replace",
    }
    assert (submitted.concurrency_key, submitted.unique_key) == ("acme", "u")
    service.answer(200, details(concurrency_key="acme", waiting_for=waits))
    assert client.get(ID).waiting_for == KeyWait("acme", 2)
    former = details()
    del former["concurrency_key"], former["unique_key"], former["waiting_for"]
    service.answer(200, former)
    assert client.get(ID).waiting_for is None


def test_a_refusal_for_a_unique_key_names_the_task_that_has_it(
    client: Any, service: Handler
) -> None:
    service.answer(409, {**problem(409), "task_id": ID})
    with pytest.raises(Conflict) as caught:
        client.submit("notification", unique_key="u", on_conflict="reject")
    assert caught.value.task_id == ID


def test_a_task_whose_payload_the_key_does_not_see_is_read(client: Any, service: Handler) -> None:
    hidden = {"payload": None, "redacted": True}
    service.answer(200, details(status="success", **hidden))
    service.answer(200, {"tasks": [task(**hidden)], "next": None})
    service.answer(200, {"tasks": [summary(digest=None, redacted=True)], "next": None})
    found = [client.get(ID), *client.list(), *client.summaries()]
    assert [one.redacted for one in found] == [True] * 3
    assert (found[0].payload, found[1].payload, found[2].digest) == ({}, {}, "")


def test_tracebacks_come_when_they_are_asked_for(client: Any, service: Handler) -> None:
    attempt = {**succeeded()["history"][0], "traceback": "File …"}
    service.answer(200, details(history=[attempt, {**attempt, "traceback": None}]))
    service.answer(200, succeeded())
    found = client.get(ID, tracebacks=True, logs=True)
    assert [one.traceback for one in found.history] == ["File …", None]
    assert client.get(ID).history[0].traceback is None
    asked = [dict(request.url.params) for request in service.requests]
    assert asked == [{"logs": "1", "tracebacks": "1"}, {}]


def test_progress_is_read(client: Any, service: Handler) -> None:
    progress = {"fraction": 0.5, "message": "half", "at": AT}
    service.answer(200, details(status="processing", progress=progress))
    found = client.get(ID).progress
    assert (found.fraction, found.message) == (0.5, "half")


def test_an_id_cannot_lead_elsewhere(client: Any, service: Handler) -> None:
    service.answer(404, problem(404))
    with pytest.raises(NotFound):
        client.get("..%2Fevents?x=1#y")
    assert service.requests[0].url.raw_path == b"/below/tasks/..%252Fevents%3Fx%3D1%23y"


def test_a_long_poll_may_take_its_time(client: Any, service: Handler) -> None:
    service.answer(200, succeeded())
    client.wait(ID)
    timeout = service.requests[0].extensions["timeout"]
    assert (timeout["connect"], timeout["read"]) == (5.0, 30.0)


@pytest.mark.parametrize(("seconds", "connect", "read"), [(1, 3.0, 3.0), (20, 5.0, 22.0)])
def test_a_wait_with_a_limit_has_that_and_two_seconds_for_its_answer(
    client: Any, service: Handler, seconds: int, connect: float, read: float
) -> None:
    service.answer(200, succeeded())
    client.wait(ID, timeout=seconds)
    timeout = service.requests[0].extensions["timeout"]
    assert timeout["connect"] == pytest.approx(connect, abs=0.5)
    assert timeout["read"] == pytest.approx(read, abs=0.5)


def test_a_task_is_cancelled(client: Any, service: Handler) -> None:
    service.answer(200, {"outcome": "stopped", "task": task(status="cancelled")})
    cancellation = client.cancel(ID)
    assert (cancellation.outcome, cancellation.task.status) == ("stopped", "cancelled")
    assert (service.requests[0].method, service.requests[0].url.path) == (
        "POST",
        f"/below/tasks/{ID}/cancel",
    )


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({}, b""),
        ({"payload": {"a": 1}}, b'{"payload":{"a":1}}'),
        ({"payload": {}, "new_type": "report"}, b'{"payload":{},"new_type":"report"}'),
    ],
)
def test_a_task_is_retried(
    client: Any, service: Handler, given: dict[str, Any], body: bytes
) -> None:
    service.answer(202, task(retries=1))
    assert client.retry(ID, **given).retries == 1
    assert service.requests[0].content == body


def test_a_cancelled_task_goes_back_to_where_it_was(client: Any, service: Handler) -> None:
    service.answer(202, task(status="scheduled"))
    due = datetime(2027, 1, 31, tzinfo=UTC)
    assert client.retry(ID, run_at=due).status == "scheduled"
    assert json.loads(service.requests[0].content) == {"run_at": due.isoformat()}


def test_a_scheduled_task_is_run_now(client: Any, service: Handler) -> None:
    service.answers = [httpx.ReadError("cut")]
    service.answer(200, task())
    assert client.run(ID).status == "pending"
    assert {(r.method, r.url.path) for r in service.requests} == {
        ("POST", f"/below/tasks/{ID}/run")
    }


def test_a_finished_task_is_deleted(client: Any, service: Handler) -> None:
    service.answers = [httpx.Response(204)]
    assert client.delete(ID) is None
    (request,) = service.requests
    assert (request.method, request.url.path) == ("DELETE", f"/below/tasks/{ID}")


def test_a_task_that_was_deleted_before_is_gone(client: Any, service: Handler) -> None:
    service.answers = [httpx.ConnectError("refused")]
    service.answer(410, problem(410))
    with pytest.raises(Gone):
        client.delete(ID)


@pytest.mark.parametrize("failures", [["cut"], [503], [504, "cut"]])
def test_a_task_that_is_gone_when_its_deletion_is_sent_again_is_deleted(
    client: Any, service: Handler, failures: list[Any]
) -> None:
    for failure in failures:
        cut = httpx.ReadError("cut")
        service.answers.append(cut if failure == "cut" else httpx.Response(failure))
    service.answer(410, problem(410))
    assert client.delete(ID) is None


def test_a_change_sends_what_is_given_alone(client: Any, service: Handler) -> None:
    service.answer(200, task(status="scheduled"))
    service.answer(200, task(status="scheduled", type="report"))
    later = datetime(2027, 1, 31, tzinfo=UTC)
    assert client.change(ID, run_at=later).status == "scheduled"
    assert client.change(ID, type="report", payload={}).type == "report"
    sent = [(r.method, r.url.path, json.loads(r.content)) for r in service.requests]
    assert sent == [
        ("PATCH", f"/below/tasks/{ID}", {"run_at": later.isoformat()}),
        ("PATCH", f"/below/tasks/{ID}", {"type": "report", "payload": {}}),
    ]


def test_a_change_of_nothing_is_not_sent(client: Any, service: Handler) -> None:
    with pytest.raises(InvalidArgument, match=f"change of task {ID} .*: a payload, a type or a t"):
        client.change(ID)
    assert service.requests == []


def test_a_change_is_sent_again_when_it_was_not_answered(client: Any, service: Handler) -> None:
    service.answers = [httpx.ReadError("cut")]
    service.answer(409, problem(409, "It is pending"))
    with pytest.raises(Conflict, match="It is pending"):
        client.change(ID, payload={"a": 1})
    first, second = service.requests
    assert first.content == second.content


def test_a_list_goes_from_page_to_page_with_all_its_filters(client: Any, service: Handler) -> None:
    service.answer(200, {"tasks": [task(id="c"), task(id="b")], "next": "x=="})
    service.answer(200, {"tasks": [task(id="a")], "next": None})
    after = datetime(2026, 11, 21, tzinfo=UTC)
    found = client.list(status="failed", type="report", created_after=after)
    assert [one.id for one in found] == ["c", "b", "a"]
    first, second = (dict(request.url.params) for request in service.requests)
    expected = {"status": "failed", "type": "report", "created_after": after.isoformat()}
    assert first == {**expected, "limit": "500"}
    assert second == {**first, "cursor": "x=="}


def test_a_list_ends_at_its_limit(client: Any, service: Handler) -> None:
    for _ in range(2):
        service.answer(200, {"tasks": [task()] * 500, "next": "x"})
    service.answer(200, {"tasks": [task()] * 5, "next": "y"})
    assert len(list(client.list(limit=1005))) == 1005
    assert [request.url.params["limit"] for request in service.requests] == ["500", "500", "5"]


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(400, Invalid), (404, NotFound), (409, Conflict), (410, Gone), (413, Invalid), (422, Invalid)],
)
def test_a_refusal_is_the_error_of_its_status(
    client: Any, service: Handler, status: int, error_class: type[ApiError]
) -> None:
    wrong = {"location": "body", "pointer": "#/payload/email", "message": "required"}
    service.answer(status, problem(status, "#/payload/email: required", errors=[wrong]))
    with pytest.raises(error_class, match=r"^#/payload/email: required$") as refused:
        client.submit("notification")
    assert (refused.value.status, refused.value.title) == (status, "No")
    assert refused.value.errors == (FieldError("body", "#/payload/email", "required"),)
    assert len(service.requests) == 1


def test_any_other_refusal_is_one_too(client: Any, service: Handler) -> None:
    service.answer(500, problem(500))
    with pytest.raises(ApiError) as refused:
        client.get(ID)
    assert type(refused.value) is ApiError


@pytest.mark.parametrize("body", ["[" * 100_000, '{"title": 1' + "0" * 5000 + "}"])
def test_a_refusal_that_cannot_be_read_is_told_by_its_status(
    client: Any, service: Handler, body: str
) -> None:
    service.answers.append(httpx.Response(422, text=body))
    with pytest.raises(Invalid, match="422 Unprocessable"):
        client.get(ID)


@pytest.mark.parametrize("wrong", [1, [], {"a": 1}, None])
def test_a_member_of_another_type_counts_as_missing(
    client: Any, service: Handler, wrong: Any
) -> None:
    document = {"title": wrong, "detail": wrong, "errors": [{"location": wrong}]}
    service.answer(422, document)
    with pytest.raises(Invalid, match=r"^422$") as refused:
        client.get(ID)
    assert refused.value.errors[0].location == ""


def test_a_redirection_to_no_host_is_an_unexpected_answer(client: Any, service: Handler) -> None:
    for _ in range(2):
        service.answers.append(httpx.Response(302, headers={"Location": "http://xn--/"}))
    with pytest.raises(UnexpectedAnswer, match="broken: "):
        client.get(ID)
    with pytest.raises(UnexpectedAnswer, match="broken: "):
        next(client.stream())


def test_what_a_proxy_says_is_told_by_its_status(client: Any, service: Handler) -> None:
    service.answers = [httpx.Response(502, text="<html>oh</html>")]
    with pytest.raises(Unavailable, match="502 Bad Gateway"):
        client.cancel(ID)


def test_a_client_of_one_s_own_stays_open() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=details()))
    with httpx.Client(transport=transport) as http:
        with Client(http=http) as client:
            client.get(ID)
        assert not http.is_closed


def test_its_own_connections_are_closed() -> None:
    with Client() as client:
        assert not client._http.is_closed
    assert client._http.is_closed
