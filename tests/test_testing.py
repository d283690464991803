"""The tools with which authors of task types test them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from tenacity import wait_fixed

from afterwards import (
    Cancelled,
    Interrupted,
    PermanentError,
    RetryPolicy,
    TaskContext,
    TaskType,
    TransientError,
)
from afterwards.testing import RecordingContext, run_once, run_once_async


class Payload(BaseModel):
    number: int = 1


async def run_async(payload: Payload, context: TaskContext) -> dict[str, int]:
    context.progress(0.5, "half")
    return {"double": 2 * payload.number}


def run_plainly(payload: Payload, context: TaskContext) -> dict[str, int]:
    context.progress(0.5, "half")
    if context.cancelled:
        raise Cancelled
    if context.attempts_used == 0:
        raise TransientError("busy")
    return {"double": 2 * payload.number}


ASYNC = TaskType("async", Payload, run_async)
PLAIN = TaskType("plain", Payload, run_plainly, executor="thread")


@pytest.mark.parametrize("task_type", [ASYNC, PLAIN])
def test_an_attempt_s_result_is_what_would_be_stored(task_type: TaskType) -> None:
    context = RecordingContext(attempt=2, attempts_used=1)
    assert run_once(task_type, {"number": 3}, context) == {"double": 6}
    assert context.reported == [(0.5, "half")]


def test_what_run_raises_comes_through() -> None:
    with pytest.raises(TransientError, match="busy"):
        run_once(PLAIN, {})


def test_a_cancellation_can_be_tried_out() -> None:
    context = RecordingContext()
    assert not context.cancelled
    context.cancel()
    with pytest.raises(Cancelled):
        run_once(PLAIN, {}, context)


@pytest.mark.parametrize(("stops", "seconds"), [(True, 0.0), (False, None)])
def test_an_interrupted_attempt_is_made_again_only_if_something_stops(
    stops: bool, seconds: float | None
) -> None:
    def run(payload: Payload, context: TaskContext) -> dict[str, Any]:
        assert context.stopping is stops
        raise Interrupted

    context = RecordingContext()
    if stops:
        context.stop()
    with pytest.raises(Interrupted):
        run_once(TaskType("interrupted", Payload, run, executor="thread"), {}, context)
    assert context.retry_in_seconds == seconds


def test_a_payload_that_would_be_refused_is_refused() -> None:
    with pytest.raises(ValidationError):
        run_once(ASYNC, {"number": "many"})


def test_a_payload_is_what_was_sent_and_no_copy_that_the_model_has_written() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        order_id: int = Field(alias="orderId")
        secret: SecretStr

    async def run(payload: Strict, context: TaskContext) -> dict[str, Any]:
        return {"order": payload.order_id, "secret": payload.secret.get_secret_value()}

    result = run_once(TaskType("strict", Strict, run), {"orderId": 7, "secret": "s3"})
    assert result == {"order": 7, "secret": "s3"}


def test_a_plain_function_may_start_an_event_loop() -> None:
    def run(payload: Payload, context: TaskContext) -> dict[str, int]:
        return asyncio.run(run_async(payload, context))

    assert run_once(TaskType("loop", Payload, run, executor="thread"), {}) == {"double": 2}


@pytest.mark.parametrize("result", [None, [], {"a": {1, 2}}, {"a": float("nan")}])
def test_a_result_that_would_fail_the_attempt_fails_here(result: Any) -> None:
    async def run(payload: Payload, context: TaskContext) -> Any:
        return result

    with pytest.raises(PermanentError):
        run_once(TaskType("wrong", Payload, run), {})


@pytest.mark.parametrize("task_type", [ASYNC, PLAIN])
def test_an_attempt_can_be_made_on_an_event_loop_that_runs(task_type: TaskType) -> None:
    context = RecordingContext(attempt=2, attempts_used=1)
    assert asyncio.run(run_once_async(task_type, {"number": 3}, context)) == {"double": 6}


@pytest.mark.parametrize(
    ("error", "attempts_used", "seconds"),
    [
        (TransientError("busy", retry_after=90), 0, 90.0),
        (TimeoutError(), 1, 7.0),
        (TimeoutError(), 2, None),
        (PermanentError("no"), 0, None),
        (KeyError("x"), 0, None),
    ],
)
def test_whether_and_when_the_service_would_try_again_can_be_looked_at(
    error: Exception, attempts_used: int, seconds: float | None
) -> None:
    def run(payload: Payload, context: TaskContext) -> dict[str, Any]:
        raise error

    policy = RetryPolicy(wait=wait_fixed(7))
    task_type = TaskType("raises", Payload, run, executor="thread", retry=policy)
    context = RecordingContext(attempts_used=attempts_used)
    with pytest.raises(type(error)):
        run_once(task_type, {}, context)
    assert context.retry_in_seconds == seconds


def test_resources_stand_in_for_what_a_lifespan_yields() -> None:
    async def run(payload: Payload, context: TaskContext) -> dict[str, Any]:
        return {"resources": context.resources}

    task_type = TaskType("uses", Payload, run)
    assert run_once(task_type, {}, resources=["pool"]) == {"resources": ["pool"]}
    assert run_once(task_type, {}) == {"resources": None}


def test_artifacts_can_be_looked_at_and_go_with_an_attempt_that_raises() -> None:
    def run(payload: Payload, context: TaskContext) -> dict[str, Any]:
        with context.artifact("a.txt", "w") as file:
            file.write("ä" * payload.number)
        if payload.number > 1:
            raise ValueError("too many")
        return {}

    task_type = TaskType("writes", Payload, run, executor="thread")
    context = RecordingContext()
    assert run_once(task_type, {"number": 1}, context) == {}
    assert context.artifacts == {"a.txt": "ä".encode()}
    failing = RecordingContext()
    with pytest.raises(ValueError, match="too many"):
        run_once(task_type, {"number": 2}, failing)
    assert failing.artifacts == {}
