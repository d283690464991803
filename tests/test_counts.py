"""The counts: what a transition adds to them, and what all workers together have counted."""

from __future__ import annotations

from collections import Counter

from afterwards.counts import (
    HTTP_SECONDS,
    Cell,
    Histogram,
    WorkerCounts,
    WorkerTotals,
    counts_by_state,
    retrying,
    tally,
    total,
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


def test_a_task_is_retrying_from_a_failed_attempt_to_the_next_one() -> None:
    failed = RUNNING.back_off(1, "no", 5.0, 4.0)
    due = failed.become_due()
    again = due.claim("service:1:2", 9.0)
    released = again.release(2, "stopping", 10.0)
    gone = released.cancel(11.0)
    life = [
        (Change(RUNNING, failed, "failure"), 1),
        (Change(failed, failed.amend(run_at=20.0)), 1),
        (Change(failed, due), 1),
        (Change(due, again), 0),
        # The attempt that was interrupted is not counted, and the failed one still is.
        (Change(again, released, "released"), 1),
        (Change(released, gone), 0),
        (Change(gone, gone.retry(12.0)), 0),
    ]
    counts = Counter[Cell]()
    for change, number in life:
        counts.update(tally([change]))
        assert retrying(counts) == retrying(counts, "note") == number, change
    assert counts["retried", "note", ""] == 1


def test_a_last_failure_is_not_followed_by_another_attempt() -> None:
    counts = tally([Change(RUNNING, RUNNING.fail(1, "no", 4.0), "failure")])
    assert (counts["retried", "note", ""], retrying(counts)) == (0, 0)


def test_a_change_within_a_state_is_no_transition() -> None:
    assert tally([Change(RUNNING, RUNNING.cancel(3.0))]) == {}


def test_counts_by_state_leave_out_what_is_empty() -> None:
    counts = Counter({("tasks", "note", "pending"): 0, ("tasks", "note", "failed"): 2})

    assert counts_by_state(counts) == {("note", TaskState.FAILED): 2}


def http(number: int, nanoseconds: int) -> WorkerCounts:
    """So many requests, all as slow as can be."""
    cells = (*[0] * len(HTTP_SECONDS), number, nanoseconds)
    return WorkerCounts({("GET", "/", "200"): number}, {("GET", "/"): cells})


def added_up(totals: WorkerTotals) -> tuple[int, int]:
    """Requests and nanoseconds of all workers."""
    counts = total(totals.by_worker().values())
    return counts.requests["GET", "/", "200"], counts.seconds["GET", "/"][-1]


def test_http_totals_replace_a_worker_s_counts_and_keep_those_of_the_gone() -> None:
    totals = WorkerTotals()
    totals.report("a", http(1, 10))
    totals.report("a", http(3, 30))
    totals.report("b", http(2, 20))
    for _ in range(2):
        assert added_up(totals) == (5, 50)
        totals.worker_gone("a")


def test_counts_that_were_sent_late_take_nothing_back() -> None:
    totals = WorkerTotals()
    totals.report("a", http(3, 30))
    totals.report("a", http(1, 10))
    assert added_up(totals) == (3, 30)


def test_http_totals_go_on_from_what_was_reported_before() -> None:
    before = WorkerTotals()
    before.report("a", http(1, 10))
    before.report("b", http(2, 20))
    before.worker_gone("b")
    after = WorkerTotals(before.by_worker())
    assert added_up(after) == (3, 30)
    after.report("a", http(2, 20))
    assert added_up(after) == (4, 40)


def test_events_of_hosts_are_added_up_like_requests() -> None:
    totals = WorkerTotals()
    totals.report("a", WorkerCounts({}, {}, {("async", "blocked"): 1}))
    totals.report("a", WorkerCounts({}, {}, {("async", "blocked"): 2, ("thread", "ended"): 1}))
    totals.worker_gone("a")
    totals.report("b", WorkerCounts({}, {}, {("async", "blocked"): 3}))
    hosts = total(totals.by_worker().values()).hosts
    assert hosts == {("async", "blocked"): 5, ("thread", "ended"): 1}


def test_a_value_falls_in_the_first_bucket_it_does_not_exceed() -> None:
    histogram = Histogram((1, 5), {})
    for value in (0, 1, 1.5, 5, 6):
        histogram.observe("x", value)
    assert histogram.cells() == {"x": (2, 2, 1, 13.5)}


def test_a_histogram_goes_on_from_cells_of_its_own_buckets_only() -> None:
    histogram = Histogram((1, 5), {"x": (1, 0, 0, 0.5), "y": (1, 0.5)})
    histogram.observe("x", 2)
    assert histogram.cells() == {"x": (1, 1, 0, 2.5)}
