"""Every Prometheus metric of the service.

Counts come from `afterwards.counts`, the rest are prometheus_client's histograms. All are kept by
the registry and rendered there, so that they are the same whichever worker is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from afterwards.counts import (
    ATTEMPTS,
    DELETED,
    HTTP_SECONDS,
    OUTCOMES,
    SUBMITTED,
    TASKS,
    TRANSITIONS,
    Cell,
    Snapshot,
)
from afterwards.lifecycle import Change, TaskState

# Workers count HTTP durations themselves, so their buckets are in `counts`.
TASK_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800,
)  # fmt: skip
COMMIT_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5,
)  # fmt: skip
BATCH_ROWS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class _ByType(dict[str, Histogram]):
    """A histogram's parts by task type: to look one up in it costs five times its observation."""

    def __init__(self, histogram: Histogram) -> None:
        super().__init__()
        self._histogram = histogram

    def __missing__(self, type_name: str) -> Histogram:
        part = self[type_name] = self._histogram.labels(type_name)
        return part


@dataclass
class TaskMetrics:
    """The histograms, and the text of it all."""

    _histograms: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        # A switch of the whole process, which is the library's only one. Prometheus does not need
        # these series, and they would be as many as there are counts.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self._histograms
        wait = Histogram(
            "afterwards_task_wait_seconds",
            "Time from when a task was due until an attempt at it was claimed.",
            ["type"],
            buckets=TASK_SECONDS,
            registry=registry,
        )
        run = Histogram(
            "afterwards_task_run_seconds",
            "Time an attempt ran, whatever its outcome.",
            ["type"],
            buckets=TASK_SECONDS,
            registry=registry,
        )
        self._waits, self._runs = _ByType(wait), _ByType(run)
        self._commit = Histogram(
            "afterwards_journal_commit_seconds",
            "Time to write one group of changes to the journal and sync it.",
            buckets=COMMIT_SECONDS,
            registry=registry,
        )
        self._rows = Histogram(
            "afterwards_journal_batch_size",
            "Task changes in one group.",
            buckets=BATCH_ROWS,
            registry=registry,
        )

    def committed(self, changes: Sequence[Change], seconds: float) -> None:
        """Count a group of transitions that has become durable in so many seconds."""
        self._commit.observe(seconds)
        self._rows.observe(len(changes))
        for change in changes:
            new = change.new
            if new is None:
                continue
            if change.run_seconds is not None:
                self._runs[new.type].observe(change.run_seconds)
            if new.state is TaskState.PROCESSING and new.started_at is not None:
                old = change.old
                if old is None or old.state is not TaskState.PROCESSING:
                    self._waits[new.type].observe(max(0.0, new.started_at - new.run_at))

    def render(self, snapshot: Snapshot) -> bytes:
        """Everything in Prometheus' text format."""
        everything = CollectorRegistry(auto_describe=False)
        everything.register(_Collector(snapshot))
        return generate_latest(everything) + generate_latest(self._histograms)


class _Collector:
    """A snapshot as prometheus_client wants it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._tasks()
        yield from self._service()
        yield from self._http()

    def _tasks(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {
            SUBMITTED: CounterMetricFamily(
                "afterwards_tasks_submitted", "Tasks accepted.", labels=["type"]
            ),
            TASKS: GaugeMetricFamily(
                "afterwards_tasks",
                "Tasks stored, by the state they are in.",
                labels=["type", "state"],
            ),
            TRANSITIONS: CounterMetricFamily(
                "afterwards_task_transitions",
                "Times a state was entered.",
                labels=["type", "state"],
            ),
            ATTEMPTS: CounterMetricFamily(
                "afterwards_task_attempts", "Attempts ended.", labels=["type", "outcome"]
            ),
            DELETED: CounterMetricFamily(
                "afterwards_tasks_deleted",
                "Finished tasks deleted because their retention was over.",
                labels=["type"],
            ),
        }
        for (counter, type_name, label), number in sorted(self._with_zeros().items()):
            labels = [type_name, str(label)] if label else [type_name]
            families[counter].add_metric(labels, number)  # type: ignore[attr-defined]
        yield from families.values()

    def _with_zeros(self) -> dict[Cell, int]:
        """What could be counted of each type too, so that its first time is seen as an increase."""
        counts = dict(self._snapshot.counts)
        for type_name in {type_name for _, type_name, _ in counts}:
            for state in TaskState:
                counts.setdefault((TASKS, type_name, state), 0)
                counts.setdefault((TRANSITIONS, type_name, state), 0)
            for outcome in OUTCOMES:
                counts.setdefault((ATTEMPTS, type_name, outcome), 0)
            counts.setdefault((DELETED, type_name, ""), 0)
        return counts

    def _service(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield GaugeMetricFamily(
            "afterwards_oldest_pending_seconds",
            "How long the oldest task has been ready, of types not paused; 0 if none waits.",
            value=snapshot.oldest_pending_seconds,
        )
        yield GaugeMetricFamily(
            "afterwards_workers", "Web workers joined to the registry.", value=snapshot.workers
        )
        yield CounterMetricFamily(
            "afterwards_reports_refused",
            "Reports dropped because their attempt was not the running one.",
            value=snapshot.refused_reports,
        )
        slots = GaugeMetricFamily(
            "afterwards_executor_slots",
            "Slots of all workers' executors; stuck ones hold a call that cannot be stopped.",
            labels=["executor", "state"],
        )
        for (executor, state), number in sorted(snapshot.slots.items()):
            slots.add_metric([executor, state], number)
        yield slots
        yield self._paused()

    def _paused(self) -> Metric:
        paused = self._snapshot.paused_types
        family = GaugeMetricFamily(
            "afterwards_task_type_paused",
            "1 while no attempts at tasks of this type are started, because it is paused.",
            labels=["type"],
        )
        for type_name in sorted(
            {type_name for _, type_name, _ in self._snapshot.counts} | {*paused}
        ):
            family.add_metric([type_name], type_name in paused)
        return family

    def _http(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "afterwards_http_requests",
            "HTTP requests answered.",
            labels=["method", "route", "status"],
        )
        for labels, number in sorted(self._snapshot.http.requests.items()):
            requests.add_metric(list(labels), number)
        yield requests
        seconds = HistogramMetricFamily(
            "afterwards_http_request_duration_seconds",
            "Time from the request's arrival until its answer was sent.",
            labels=["method", "route"],
        )
        for key, (numbers, total) in sorted(self._snapshot.http.seconds.items()):
            seconds.add_metric(list(key), buckets=_cumulative(numbers), sum_value=total)
        yield seconds


def _cumulative(numbers: Sequence[int]) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    total = 0
    # As prometheus_client writes them: "1.0" and not "1".
    bounds = [*(str(float(seconds)) for seconds in HTTP_SECONDS), "+Inf"]
    for bound, number in zip(bounds, numbers, strict=True):
        total += number
        buckets.append((bound, total))
    return buckets
