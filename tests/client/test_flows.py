"""Retries and long polls, without a network or a clock: the flows are driven by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
import pytest

from afterwards_client import (
    ConnectionFailed,
    NewTask,
    Retries,
    TaskFailed,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
    calls,
    flows,
)
from afterwards_client.flows import Flow, Pause
from tests.client.documents import AT, ID, details, problem, succeeded, task

T = TypeVar("T")

URL = "http://service"


class World:
    """A clock, a service that answers as a test says, and a record of what was done."""

    def __init__(self, *answers: Any) -> None:
        self.now = 1000.0
        self.answers = list(answers)
        self.sent: list[calls.Call[Any]] = []
        self.pauses: list[float] = []
        self.retries = Retries(clock=lambda: self.now, jitter=lambda _, most: most)

    def run(self, flow: Flow[T]) -> T:
        """Do what the flow wants done."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                    step = flow.send(None)
                    continue
                self.sent.append(step.call)
                answer = self.answers.pop(0)
                if callable(answer):
                    answer = answer(step.call)
                if isinstance(answer, httpx.TransportError):
                    answer.request = httpx.Request(step.call.method, URL + step.call.path)
                    step = flow.throw(answer)
                else:
                    step = flow.send(answer)
        except StopIteration as finished:
            result: T = finished.value
            return result

    def after(self, seconds: float, response: httpx.Response) -> Callable[[Any], httpx.Response]:
        """An answer that takes its time."""

        def answer(_: Any) -> httpx.Response:
            self.now += seconds
            return response

        return answer


def answer(status: int, document: Any = None, **headers: str) -> httpx.Response:
    request = httpx.Request("GET", URL)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=document, headers=named, request=request)


def refusal(**headers: str) -> httpx.Response:
    return answer(503, problem(503, "too many unfinished tasks"), **headers)


NEW = NewTask("notification", {"message": "Hello"})


def test_a_submission_is_repeated_under_one_key_until_it_is_answered() -> None:
    world = World(httpx.ReadTimeout("late"), refusal(), answer(202, task()))
    submitted = world.run(flows.submit(NEW, None, None, world.retries))
    assert submitted.id == ID
    keys = {call.headers["Idempotency-Key"] for call in world.sent}
    assert len(world.sent) == 3
    assert len(keys) == 1


def test_each_submission_has_a_key_of_its_own() -> None:
    world = World(answer(202, task()), answer(202, task()))
    for _ in range(2):
        world.run(flows.submit(NEW, None, None, world.retries))
    first, second = (call.headers["Idempotency-Key"] for call in world.sent)
    assert first != second


def test_a_key_of_ones_own_is_sent_as_a_quoted_string() -> None:
    world = World(answer(202, task()))
    world.run(flows.submit(NEW, r'a "b\c', None, world.retries))
    assert world.sent[0].headers["Idempotency-Key"] == r'"a \"b\\c"'


def test_the_pauses_double_up_to_a_limit_until_the_patience_is_at_its_end() -> None:
    world = World(*[refusal()] * 20)
    with pytest.raises(Unavailable, match="too many unfinished tasks"):
        world.run(flows.perform(calls.get(ID), world.retries))
    assert world.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]
    assert len(world.sent) == 11


def test_patience_counts_from_the_first_failure_not_from_the_first_request() -> None:
    world = World()
    world.answers = [world.after(100, refusal()), answer(200, details())]
    assert world.run(flows.perform(calls.get(ID, 100), world.retries)).id == ID


def test_the_service_is_not_asked_again_before_it_wants_to_be() -> None:
    world = World(refusal(Retry_After="7"), answer(200, details()))
    world.run(flows.perform(calls.get(ID), world.retries))
    assert world.pauses == [7.1]


def test_a_date_to_retry_after_is_understood_by_the_service_s_clock() -> None:
    headers = {
        "Retry_After": "Sat, 21 Nov 2026 09:10:20 GMT",
        "Date": "Sat, 21 Nov 2026 09:10:08 GMT",
    }
    world = World(refusal(**headers), answer(200, details()))
    world.run(flows.perform(calls.get(ID), world.retries))
    assert world.pauses == [12.1]


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "-5",
        "Sat, 21 Nov 2026",
        "1e3",
        "Fri, 27 Nov 2026 00:00:00 +99999999999999",
        "Fri, 27 Nov 99999999999999 00:00:00 GMT",
    ],
)
def test_what_is_no_time_to_retry_after_counts_as_none(value: str) -> None:
    world = World(refusal(Retry_After=value), answer(200, details()))
    world.run(flows.perform(calls.get(ID), world.retries))
    assert world.pauses == [0.1]


@pytest.mark.parametrize("value", ["9" * 15, "9" * 5000])
def test_a_time_that_nobody_can_sleep_is_a_year(value: str) -> None:
    world = World(refusal(Retry_After=value), answer(200, details()))
    endless = replace(world.retries, total_seconds=math.inf)
    world.run(flows.perform(calls.get(ID), endless))
    assert world.pauses == [366 * 86400 + 0.1]


def test_longer_than_the_patience_is_not_waited() -> None:
    world = World(refusal(Retry_After="31"))
    with pytest.raises(Unavailable) as refused:
        world.run(flows.perform(calls.get(ID), world.retries))
    assert refused.value.retry_after_seconds == 31
    assert world.pauses == []


def test_retries_can_be_turned_off() -> None:
    world = World(httpx.ConnectError("refused"))
    with pytest.raises(ConnectionFailed, match=r"No answer from http://service/tasks/\S+: refused"):
        world.run(flows.perform(calls.get(ID), Retries(total_seconds=0)))


@pytest.mark.parametrize("call", [calls.cancel(ID), calls.retry(ID)])
@pytest.mark.parametrize("failure", [httpx.ReadTimeout(""), httpx.RemoteProtocolError("cut")])
def test_what_may_have_been_done_is_not_done_again(
    call: calls.Call[Any], failure: httpx.TransportError
) -> None:
    world = World(failure)
    with pytest.raises(ConnectionFailed):
        world.run(flows.perform(call, world.retries))


def test_a_refusal_of_what_may_have_been_done_is_told_at_once() -> None:
    world = World(refusal(Retry_After="1"))
    with pytest.raises(Unavailable):
        world.run(flows.perform(calls.cancel(ID), world.retries))


@pytest.mark.parametrize("failure", [httpx.ConnectError(""), httpx.ConnectTimeout("")])
def test_what_was_never_sent_is_sent_again(failure: httpx.TransportError) -> None:
    world = World(failure, answer(202, task()))
    assert world.run(flows.perform(calls.retry(ID), world.retries)).id == ID


def test_a_wrong_url_is_not_tried_twice() -> None:
    world = World(httpx.UnsupportedProtocol("no scheme"))
    with pytest.raises(httpx.UnsupportedProtocol):
        world.run(flows.perform(calls.get(ID), world.retries))


def test_waiting_asks_again_until_the_task_is_finished() -> None:
    world = World()
    world.answers = [world.after(25, answer(200, details())), answer(200, succeeded())]
    assert world.run(flows.wait_for(ID, None, world.retries)).succeeded
    assert [call.headers for call in world.sent] == [{"Prefer": "wait=25"}] * 2
    assert world.pauses == []


def test_waiting_ends_when_its_time_is_up_and_tells_how_the_task_stands() -> None:
    world = World()
    world.answers = [
        world.after(25, answer(200, details())),
        world.after(15, answer(200, details(status="processing"))),
    ]
    with pytest.raises(WaitTimeout, match="processing after 40 s") as late:
        world.run(flows.wait_for(ID, timedelta(seconds=40), world.retries))
    assert isinstance(late.value, TimeoutError)
    assert late.value.task.status == "processing"
    assert [call.headers["Prefer"] for call in world.sent] == ["wait=25", "wait=15"]


def test_an_early_answer_is_no_reason_to_ask_in_a_tight_loop() -> None:
    world = World(answer(200, details()), answer(200, succeeded()))
    world.run(flows.wait_for(ID, None, world.retries))
    assert world.pauses == [0.5]


def test_waiting_is_not_longer_because_the_service_is_away() -> None:
    world = World(*[httpx.ConnectError("refused")] * 20)
    with pytest.raises(ConnectionFailed):
        world.run(flows.wait_for(ID, 2.0, world.retries))
    assert world.now <= 1002


def cut(status: int = 504) -> httpx.Response:
    """The answer of a proxy."""
    request = httpx.Request("GET", URL)
    return httpx.Response(status, text="<html>", request=request)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_that_does_not_wait_as_long_says_nothing_of_the_task(status: int) -> None:
    world = World()
    for _ in range(20):
        world.answers += [world.after(15, cut(status)), answer(200, details())]
    world.answers.append(answer(200, succeeded()))
    assert world.run(flows.wait_for(ID, None, world.retries)).succeeded
    assert world.pauses == []


def test_a_proxy_that_lets_nobody_wait_is_asked_now_and_again() -> None:
    world = World(*[refusal(), answer(200, details())] * 100, answer(200, succeeded()))
    assert world.run(flows.wait_for(ID, None, world.retries)).succeeded
    assert world.pauses == [0.1, 0.5] * 100


def test_a_wait_that_is_cut_does_not_hide_that_the_service_is_away() -> None:
    world = World()
    world.answers = [world.after(25, cut()), *[httpx.ConnectError("refused")] * 20]
    with pytest.raises(ConnectionFailed):
        world.run(flows.wait_for(ID, None, world.retries))
    assert world.now <= 1000 + 25 + 30


def test_a_wait_asks_a_service_that_refuses_it_no_sooner_than_it_wants() -> None:
    world = World(refusal(Retry_After="7"), answer(200, succeeded()))
    assert world.run(flows.wait_for(ID, None, world.retries)).succeeded
    assert world.pauses == [7.1]


def test_a_wait_that_is_cut_at_its_end_tells_how_the_task_stands() -> None:
    world = World()
    world.answers = [world.after(3, cut()), answer(200, details(status="processing"))]
    with pytest.raises(WaitTimeout, match="processing after 3 s"):
        world.run(flows.wait_for(ID, 3, world.retries))


def test_a_wait_ends_two_seconds_late_if_the_service_falls_silent() -> None:
    world = World()

    def silent(call: calls.Call[Any]) -> httpx.TransportError:
        assert call.limit_seconds is not None
        world.now += call.limit_seconds
        return httpx.ReadTimeout("late")

    world.answers = [silent]
    with pytest.raises(ConnectionFailed, match="late"):
        world.run(flows.wait_for(ID, 3, world.retries))
    assert world.now == 1005


def test_a_submission_that_waits_does_so_after_it_is_accepted() -> None:
    world = World(answer(202, task()))
    world.answers += [
        world.after(25, answer(200, details())),
        world.after(15, answer(200, succeeded())),
    ]
    assert world.run(flows.submit(NEW, None, 40, world.retries)).succeeded
    assert [call.headers.get("Prefer") for call in world.sent] == [None, "wait=25", "wait=15"]


def test_a_submission_that_has_waited_enough_is_the_task_as_it_stands() -> None:
    world = World(answer(202, task()))
    world.answers.append(world.after(20, answer(200, details(status="processing"))))
    submitted = world.run(flows.submit(NEW, None, 20, world.retries))
    assert submitted.status == "processing"


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("refused"), answer(404, problem(404)), cut(500), refusal()]
)
def test_a_task_that_was_accepted_is_known_whatever_ends_the_wait(failure: Any) -> None:
    world = World(answer(202, task()), *[failure] * 20)
    assert world.run(flows.submit(NEW, None, 40, world.retries)).id == ID
    assert world.now <= 1040


@pytest.mark.parametrize("wait", [3, 40])
@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), refusal()])
def test_a_submission_is_tried_no_longer_than_it_was_to_wait(failure: Any, wait: int) -> None:
    world = World(*[failure] * 20)
    with pytest.raises((ConnectionFailed, Unavailable)):
        world.run(flows.submit(NEW, None, wait, world.retries))
    assert world.now <= 1000 + min(wait, 30)
    limits = [call.limit_seconds or 0 for call in world.sent]
    assert limits[0] == wait
    assert limits == sorted(limits, reverse=True)


def test_a_submission_has_a_second_to_be_answered_however_short_its_wait() -> None:
    world = World(answer(202, task()), answer(200, succeeded()))
    world.run(flows.submit(NEW, None, 0.1, world.retries))
    assert world.sent[0].limit_seconds == 1.0


def test_a_submission_that_does_not_wait_asks_for_nothing() -> None:
    world = World(answer(202, task()))
    world.run(flows.submit(NEW, None, None, world.retries))
    assert "Prefer" not in world.sent[0].headers


def test_a_result_is_what_the_task_returned() -> None:
    world = World(answer(200, succeeded()))
    result = world.run(flows.result_of(ID, None, world.retries))
    assert result == {"message": "Notification sent"}


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_task_without_a_result_raises_what_became_of_it(status: str) -> None:
    world = World(answer(200, details(status=status, error="no such mailbox")))
    with pytest.raises(TaskFailed, match=f"{status}: no such mailbox") as failed:
        world.run(flows.result_of(ID, None, world.retries))
    assert failed.value.task.status == status


@pytest.mark.parametrize(
    "response",
    [
        answer(200, {"id": ID}),
        answer(200, details(status="dreaming")),
        answer(200, [1]),
        httpx.Response(200, text="<html>", request=httpx.Request("GET", URL)),
        httpx.Response(200, text="[" * 100_000, request=httpx.Request("GET", URL)),
        answer(200, details(progress={"fraction": 10**400, "message": "", "at": AT})),
        httpx.Response(301, headers={"Location": "/"}, request=httpx.Request("GET", URL)),
    ],
)
def test_an_answer_of_something_else_says_so(response: httpx.Response) -> None:
    world = World(response)
    with pytest.raises(UnexpectedAnswer, match="did not answer as Afterwards does"):
        world.run(flows.perform(calls.get(ID), world.retries))


def test_what_is_not_said_is_left_to_the_service() -> None:
    assert NewTask("report").body() == {"type": "report"}
    at = datetime(2027, 1, 1, tzinfo=UTC)
    full = NewTask("report", {"a": 1}, timedelta(minutes=1), None, 0, 5, 2.5, at)
    assert full.body() == {
        "type": "report",
        "payload": {"a": 1},
        "delay_seconds": 60.0,
        "priority": 0,
        "max_attempts": 5,
        "timeout_seconds": 2.5,
        "deadline": "2027-01-01T00:00:00+00:00",
    }
    assert NewTask("report", run_at=at).body()["run_at"] == "2027-01-01T00:00:00+00:00"
