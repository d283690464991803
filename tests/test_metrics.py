"""The metrics: how counts and transitions are told to Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from afterwards.counts import (
    HTTP_SECONDS,
    NO_COUNTS,
    OUTCOMES,
    Cell,
    Kept,
    Snapshot,
    WorkerCounts,
    tally,
)
from afterwards.lifecycle import Change, Task, TaskState
from afterwards.metrics import TaskMetrics, render

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


def samples(
    changes: list[Change] | None = None,
    *,
    counts: Mapping[Cell, int] | None = None,
    http: WorkerCounts | None = None,
) -> dict[str, float]:
    metrics = TaskMetrics()
    metrics.committed(changes or [], 0.002)
    snapshot = Snapshot(counts or {}, 1.5, {("async", "busy"): 2}, 3, wal_bytes=4_152)
    kept = Kept(1, {"a": http or NO_COUNTS, "b": NO_COUNTS}, metrics.cells(), 4)
    return {
        sample.name + "".join(f" {key}={sample.labels[key]}" for key in sorted(sample.labels)): (
            sample.value
        )
        for family in text_string_to_metric_families(render(snapshot, kept).decode())
        for sample in family.samples
    }


def test_the_text_is_what_prometheus_reads() -> None:
    numbers = samples(counts=tally([Change(None, NEW), Change(NEW, RUNNING)]))

    assert numbers["afterwards_tasks_submitted_total type=note"] == 1
    assert numbers["afterwards_tasks state=processing type=note"] == 1
    assert numbers["afterwards_tasks state=pending type=note"] == 0
    assert numbers["afterwards_task_transitions_total state=pending type=note"] == 1
    assert numbers["afterwards_oldest_pending_seconds"] == 1.5
    assert numbers["afterwards_executor_slots executor=async state=busy"] == 2
    assert numbers["afterwards_workers"] == 3
    assert numbers["afterwards_journal_wal_bytes"] == 4_152
    assert numbers["afterwards_reports_refused_total"] == 4


def test_what_has_not_happened_yet_is_told_as_zero() -> None:
    # Prometheus sees no increase in a series that begins with its first event.
    numbers = samples(counts=tally([Change(None, NEW)]))

    for outcome in OUTCOMES:
        assert numbers[f"afterwards_task_attempts_total outcome={outcome} type=note"] == 0
    for state in set(TaskState) - {TaskState.PENDING}:
        assert numbers[f"afterwards_tasks state={state} type=note"] == 0
        assert numbers[f"afterwards_task_transitions_total state={state} type=note"] == 0
    for name in ("tasks_deleted_total", "tasks_retrying", "task_retries_total"):
        assert numbers[f"afterwards_{name} type=note"] == 0


def test_there_are_no_series_that_nobody_needs() -> None:
    assert [name for name in samples([Change(NEW, RUNNING)]) if "_created" in name] == []


def test_waiting_and_running_are_measured_from_the_transitions() -> None:
    changes = [Change(NEW, RUNNING), Change(RUNNING, DONE, "success", 0.75)]

    numbers = samples(changes)

    assert numbers["afterwards_task_wait_seconds_sum type=note"] == 1.5
    assert numbers["afterwards_task_run_seconds_sum type=note"] == 0.75
    assert numbers["afterwards_journal_batch_size_sum"] == 2
    assert numbers["afterwards_journal_commit_seconds_sum"] == 0.002


def test_a_cancellation_of_what_runs_is_not_a_second_wait() -> None:
    numbers = samples([Change(NEW, RUNNING), Change(RUNNING, RUNNING.cancel(3.0))])

    assert numbers["afterwards_task_wait_seconds_count type=note"] == 1


def test_a_clock_that_was_set_back_gives_no_negative_wait() -> None:
    early = NEW.claim("service:1:2", -100.0)

    assert samples([Change(NEW, early)])["afterwards_task_wait_seconds_sum type=note"] == 0


def test_http_durations_are_told_as_a_histogram() -> None:
    cells = (1, 2, *[0] * (len(HTTP_SECONDS) - 2), 4, 99_500_000_000)
    counts = WorkerCounts({("GET", "/", "200"): 7}, {("GET", "/"): cells})

    numbers = samples(http=counts)

    name = "afterwards_http_request_duration_seconds"
    assert numbers["afterwards_http_requests_total method=GET route=/ status=200"] == 7
    assert numbers[f"{name}_bucket le={HTTP_SECONDS[0]} method=GET route=/"] == 1
    assert numbers[f"{name}_bucket le={float(HTTP_SECONDS[-1])} method=GET route=/"] == 3
    assert numbers[f"{name}_bucket le=+Inf method=GET route=/"] == 7
    assert numbers[f"{name}_count method=GET route=/"] == 7
    assert numbers[f"{name}_sum method=GET route=/"] == 99.5


def test_events_of_hosts_are_told_from_zero_on() -> None:
    numbers = samples(http=WorkerCounts({}, {}, {("async", "blocked"): 2}))

    assert numbers["afterwards_host_events_total event=blocked executor=async"] == 2
    assert numbers["afterwards_host_events_total event=ended executor=async"] == 0


def test_what_is_observed_of_the_journal_is_told_as_zero_before() -> None:
    text = render(Snapshot({}, 0.0, {}, 0), Kept()).decode()

    for name in ("commit_seconds", "batch_size"):
        assert f"afterwards_journal_{name}_count 0.0" in text
        assert f"afterwards_journal_{name}_sum 0.0" in text
