"""The counts: what a transition adds to them, and what all workers together have counted."""

from __future__ import annotations

from collections import Counter

import pytest

from afterwards.counts import (
    HTTP_SECONDS,
    HttpCounts,
    HttpTotals,
    counts_by_state,
    tally,
)
from afterwards.lifecycle import Change, Task, TaskState

NEW = Task(
    id="6f1f8c1e-0000-4000-8000-000000000001",
    type="note",
    payload=b"{}",
    executor="async",
    created_at=1.0,
    run_at=1.0,
)
RUNNING = NEW.claim("service:1:2", 2.5)
DONE = RUNNING.succeed(1, b"1", 4.0)


def test_a_task_s_life_adds_up() -> None:
    life = [
        Change(None, NEW),
        Change(NEW, RUNNING),
        Change(RUNNING, DONE, "success", 1.5),
        Change(DONE, None),
    ]

    for length in range(1, len(life) + 1):
        counts = tally(life[:length])
        stored = sum(counts_by_state(counts).values())
        assert counts["submitted", "note", ""] == stored + counts["deleted", "note", ""] == 1
    assert counts == {
        ("submitted", "note", ""): 1,
        ("deleted", "note", ""): 1,
        ("tasks", "note", "pending"): 0,
        ("tasks", "note", "processing"): 0,
        ("tasks", "note", "success"): 0,
        ("transitions", "note", "pending"): 1,
        ("transitions", "note", "processing"): 1,
        ("transitions", "note", "success"): 1,
        ("attempts", "note", "success"): 1,
    }


def test_a_change_within_a_state_is_no_transition() -> None:
    assert tally([Change(RUNNING, RUNNING.cancel(3.0))]) == {}


def test_counts_by_state_leave_out_what_is_empty() -> None:
    counts = Counter({("tasks", "note", "pending"): 0, ("tasks", "note", "failed"): 2})

    assert counts_by_state(counts) == {("note", TaskState.FAILED): 2}


def http(number: int, seconds: float) -> HttpCounts:
    """So many requests, all as slow as can be."""
    buckets = (*[0] * len(HTTP_SECONDS), number)
    return HttpCounts({("GET", "/", "200"): number}, {("GET", "/"): (buckets, seconds)})


def test_http_totals_replace_a_worker_s_counts_and_keep_those_of_the_gone() -> None:
    totals = HttpTotals()
    totals.report("a", http(1, 10.0))
    totals.report("a", http(3, 30.0))
    totals.report("b", http(2, 20.0))
    for _ in range(2):
        assert totals.total().requests == {("GET", "/", "200"): 5}
        totals.worker_gone("a")

    _, seconds = totals.total().seconds["GET", "/"]
    assert seconds == pytest.approx(50.0)
