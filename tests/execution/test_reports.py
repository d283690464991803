"""The end of an attempt is told to the registry with all that it left."""

from __future__ import annotations

import pytest

from afterwards.execution.reports import Reports
from afterwards.lifecycle import Usage
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.requests import (
    Failed,
    Lost,
    Released,
    Report,
    Stopped,
    Succeeded,
    Suspected,
)
from afterwards_executors.base import End, Outcome


def claim(task_id: str = "t", *, attempts_used: int = 0) -> Claim:
    return Claim(task_id, 1, "work", b"{}", "async", attempts_used, 3, None)


def report_of(outcome: Outcome, *, attempts_used: int = 0, is_cancelled: bool = False) -> Report:
    return Reports().of(claim(attempts_used=attempts_used), outcome, is_cancelled=is_cancelled)


@pytest.mark.parametrize(
    ("outcome", "report"),
    [
        (Outcome(End.SUCCEEDED, value=b"{}", run_seconds=0.5), Succeeded("t", 1, b"{}", 0.5)),
        (Outcome(End.LOST, error="killed"), Lost("t", 1, "killed")),
        (Outcome(End.SUSPECTED, error="killed", crowd=5_000), Suspected("t", 1, "killed", 625)),
        (Outcome(End.SUSPECTED, error="killed", crowd=9), Suspected("t", 1, "killed", 1)),
        (Outcome(End.RELEASED, error="a neighbour"), Released("t", 1, "a neighbour")),
        (Outcome(End.CANCELLED, error="shut down"), Released("t", 1, "shut down")),
        (Outcome(End.STARVED, error="no threads"), Released("t", 1, "no threads")),
        (Outcome(End.FAILED, error="no"), Failed("t", 1, "no", 0.0, None)),
        (
            Outcome(End.FAILED, value=b"in line 1\xff", error="no"),
            Failed("t", 1, "no", 0.0, None, traceback="in line 1\ufffd"),
        ),
        (
            Outcome(End.TIMED_OUT, error="late", retry_in_seconds=7.0),
            Failed("t", 1, "late", 0.0, 7.0, timed_out=True),
        ),
    ],
)
def test_each_end_has_its_report(outcome: Outcome, report: Report) -> None:
    assert report_of(outcome) == report


def test_an_attempt_that_was_stopped_because_somebody_asked_for_it_is_stopped() -> None:
    assert report_of(Outcome(End.CANCELLED, error="x"), is_cancelled=True) == Stopped("t", 1)


def test_what_it_printed_and_took_goes_along() -> None:
    left = {"log_lines": ("half", "done"), "cpu_seconds": 1.5, "peak_memory_bytes": 2**20}
    for end in (End.SUCCEEDED, End.FAILED, End.LOST, End.SUSPECTED):
        report = report_of(Outcome(end, **left))  # type: ignore[arg-type] # each its own type
        assert isinstance(report, Succeeded | Failed | Lost | Suspected)
        assert report.log_lines == ("half", "done")
        assert report.usage == Usage(2**20, 1.5)


def test_one_that_ended_before_its_code_could_say_when_has_the_default_delay() -> None:
    transient = Outcome(End.TIMED_OUT, error="late", transient=True)
    first, last = report_of(transient), report_of(transient, attempts_used=2)

    assert isinstance(first, Failed)
    assert first.retry_in_seconds is not None
    assert 0 < first.retry_in_seconds < 60
    assert isinstance(last, Failed)
    assert last.retry_in_seconds is None


def test_one_that_is_released_for_a_neighbour_twice_is_next_alone() -> None:
    reports = Reports()
    released = Outcome(End.RELEASED, error="a neighbour")

    def told(task_id: str) -> Report:
        return reports.of(claim(task_id), released, is_cancelled=False)

    assert told("a") == Released("a", 1, "a neighbour")
    assert told("b") == Released("b", 1, "a neighbour")
    assert told("a") == Suspected("a", 1, "a neighbour", 1)
    assert told("a") == Released("a", 1, "a neighbour")
