"""A type's policy says when a task is tried again, where its code runs."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs
from tenacity import RetryCallState
from tenacity.wait import wait_base

from afterwards.execution.attempt import Attempt, run_attempt, run_attempt_async
from afterwards.execution.retrying import seconds_until_next
from afterwards.task_types.base import (
    Environment,
    RetryPolicy,
    TaskContext,
    TaskType,
    TransientError,
)


class WaitsFor(wait_base):
    """Waits for so long, or raises."""

    def __init__(self, answer: float) -> None:
        self.answer = answer

    def __call__(self, retry_state: RetryCallState) -> float:
        if self.answer < 0:
            raise ZeroDivisionError
        return self.answer * retry_state.attempt_number


class Payload(BaseModel):
    pass


class ALine:
    is_stop_asked = False
    is_stopping = False

    def __init__(self) -> None:
        self.told: list[float | None] = []

    def send_progress(self, data: bytes) -> None:
        pass

    def time_out_delay(self, seconds: float | None) -> None:
        self.told.append(seconds)


def attempt(attempts_used: int, max_attempts: int | None = None) -> Attempt:
    environment = Environment(Path("outputs"), 0, 0, 0, 0, max_result_bytes=100)
    context = TaskContext("t", attempts_used + 1, attempts_used, environment)
    return Attempt("probe", b"{}", context, max_attempts)


def serve(monkeypatch: pytest.MonkeyPatch, policy: RetryPolicy) -> None:
    async def busy(payload: Any, context: TaskContext) -> dict[str, Any]:
        raise TransientError("busy")

    catalogue = {"probe": TaskType("probe", Payload, busy, retry=policy)}
    monkeypatch.setattr("afterwards.execution.attempt.load_catalogue", lambda *_: catalogue)


@pytest.mark.parametrize(
    ("attempts_used", "max_attempts", "seconds"),
    [(0, None, 10), (1, None, 20), (2, None, None), (2, 4, 30), (0, 1, None)],
)
def test_an_outcome_says_when_the_policy_wants_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
    attempts_used: int,
    max_attempts: int | None,
    seconds: float | None,
) -> None:
    serve(monkeypatch, RetryPolicy(wait=WaitsFor(10)))
    given = attempt(attempts_used, max_attempts)
    assert run_attempt(given).retry_in_seconds == seconds
    assert asyncio.run(run_attempt_async(given)).retry_in_seconds == seconds


def test_the_wait_after_a_time_out_is_said_when_the_attempt_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(monkeypatch, RetryPolicy(wait=WaitsFor(10)))
    line = ALine()
    monkeypatch.setattr("afterwards.execution.attempt.current_line", lambda: line)
    run_attempt(attempt(1))
    asyncio.run(run_attempt_async(attempt(2)))
    assert line.told == [20, None]


@pytest.mark.parametrize("answer", [-1.0, math.inf, math.nan])
def test_a_broken_policy_is_told_of_and_the_default_decides(answer: float) -> None:
    with capture_logs() as lines:
        seconds = seconds_until_next(RetryPolicy(wait=WaitsFor(answer)), 0, None)
    assert seconds is not None
    assert 0 < seconds < 60
    assert [line["event"] for line in lines] == ["retry policy is broken; the default is used"]
