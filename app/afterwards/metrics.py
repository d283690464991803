"""Every Prometheus metric of the service.

All are kept by the registry and rendered there, so that they are the same whichever worker is
asked. What is counted is in `afterwards.counts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from afterwards.counts import (
    ATTEMPTS,
    DELETED,
    HOST_EVENTS,
    HTTP_SECONDS,
    OUTCOMES,
    RETRIED,
    RETRYING,
    SUBMITTED,
    TASK_SECONDS,
    TASKS,
    TRANSITIONS,
    Cell,
    Cells,
    Histogram,
    Kept,
    Snapshot,
    WorkerCounts,
    total,
)
from afterwards.lifecycle import Change, TaskState

COMMIT_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5,
)  # fmt: skip
BATCH_ROWS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class _Family(NamedTuple):
    """A histogram of the registry's own."""

    name: str
    text: str
    bounds: Sequence[float]
    labels: Sequence[str] = ()
    """One or none."""


_WAIT: Final = _Family(
    "afterwards_task_wait_seconds",
    "Time from when a task was due until an attempt at it was claimed.",
    TASK_SECONDS,
    ["type"],
)
_RUN: Final = _Family(
    "afterwards_task_run_seconds",
    "Time an attempt ran, whatever its outcome.",
    TASK_SECONDS,
    ["type"],
)
_COMMIT: Final = _Family(
    "afterwards_journal_commit_seconds",
    "Time to write one group of changes to the journal and sync it.",
    COMMIT_SECONDS,
)
_ROWS: Final = _Family("afterwards_journal_batch_size", "Task changes in one group.", BATCH_ROWS)
_FAMILIES: Final = (_WAIT, _RUN, _COMMIT, _ROWS)


class TaskMetrics:
    """The registry's own histograms.

    Args:
        kept: what was observed before, as `cells` gave it.
    """

    def __init__(self, kept: Mapping[str, Cells] = MappingProxyType({})) -> None:
        self._histograms = {
            family.name: Histogram(family.bounds, kept.get(family.name, {})) for family in _FAMILIES
        }
        self._wait = self._histograms[_WAIT.name].observe
        self._run = self._histograms[_RUN.name].observe
        self._commit = self._histograms[_COMMIT.name].observe
        self._rows = self._histograms[_ROWS.name].observe

    def committed(self, changes: Sequence[Change], seconds: float) -> None:
        """Count a group of transitions that has become durable in so many seconds."""
        self._commit("", seconds)
        self._rows("", len(changes))
        for change in changes:
            new = change.new
            if new is None:
                continue
            if change.run_seconds is not None:
                self._run(new.type, change.run_seconds)
            if new.state is TaskState.PROCESSING and new.started_at is not None:
                old = change.old
                if old is None or old.state is not TaskState.PROCESSING:
                    self._wait(new.type, max(0.0, new.started_at - new.run_at))

    def task_seconds(self, type_name: str) -> tuple[list[int], list[int]]:
        """The numbers of waits and runs of a type, by the bounds of `TASK_SECONDS`."""
        wait, run = (self._histograms[family.name].numbers(type_name) for family in (_WAIT, _RUN))
        return wait, run

    def cells(self) -> Mapping[str, Cells]:
        """A copy of everything so far, by the histograms' names."""
        return {name: histogram.cells() for name, histogram in self._histograms.items()}


def render(snapshot: Snapshot, kept: Kept) -> bytes:
    """Everything in Prometheus' text format."""
    everything = CollectorRegistry(auto_describe=False)
    everything.register(_Collector(snapshot, kept))
    return generate_latest(everything)


class _Collector:
    """The counts as prometheus_client wants them."""

    def __init__(self, snapshot: Snapshot, kept: Kept) -> None:
        self._snapshot = snapshot
        self._kept = kept

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._tasks()
        yield from self._service()
        of_workers = total(self._kept.of_workers.values())
        yield from self._http(of_workers)
        yield self._hosts(of_workers)
        yield from map(self._histogram, _FAMILIES)

    def _tasks(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {
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
            RETRYING: GaugeMetricFamily(
                "afterwards_tasks_retrying",
                "Tasks that wait for a further attempt after one that failed; they are in "
                "afterwards_tasks, too.",
                labels=["type"],
            ),
            RETRIED: CounterMetricFamily(
                "afterwards_task_retries",
                "Attempts that failed and are followed by another.",
                labels=["type"],
            ),
            DELETED: CounterMetricFamily(
                "afterwards_tasks_deleted",
                "Finished tasks deleted, by hand or because their retention was over.",
                labels=["type"],
            ),
        }
        for (counter, type_name, label), number in sorted(self._with_zeros().items()):
            labels = [type_name, str(label)] if label else [type_name]
            families[counter].add_metric(labels, number)
        yield from families.values()

    def _with_zeros(self) -> dict[Cell, int]:
        """The counts, with zeros so that the first event of each type is seen as an increase."""
        counts = dict(self._snapshot.counts)
        for type_name in {type_name for _, type_name, _ in counts}:
            for state in TaskState:
                counts.setdefault((TASKS, type_name, state), 0)
                counts.setdefault((TRANSITIONS, type_name, state), 0)
            for outcome in OUTCOMES:
                counts.setdefault((ATTEMPTS, type_name, outcome), 0)
            for counter in (DELETED, RETRYING, RETRIED):
                counts.setdefault((counter, type_name, ""), 0)
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
            value=self._kept.refused_reports,
        )
        yield GaugeMetricFamily(
            "afterwards_journal_wal_bytes",
            "Size of the journal's write-ahead log on disk; 0 without a journal.",
            value=snapshot.wal_bytes,
        )
        yield GaugeMetricFamily(
            "afterwards_journal_tasks_to_reseal",
            "Stored tasks that may not be encrypted with the key that writes yet.",
            value=snapshot.left_to_reseal,
        )
        yield from self._webhooks()
        slots = GaugeMetricFamily(
            "afterwards_executor_slots",
            "Slots of all workers' executors; stuck ones hold a call that goes on after its time.",
            labels=["executor", "state"],
        )
        for (executor, state), number in sorted(snapshot.slots.items()):
            slots.add_metric([executor, state], number)
        yield slots
        yield self._paused()

    def _webhooks(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "afterwards_webhooks_disabled",
            "Webhooks that are told of nothing, by hand or because their receiver failed.",
            value=self._snapshot.webhooks_disabled,
        )
        yield GaugeMetricFamily(
            "afterwards_webhook_notices_waiting",
            "Ends of tasks that webhooks or callbacks are to be told of, and no delivery has yet.",
            value=self._snapshot.notices_waiting,
        )

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

    def _hosts(self, of_workers: WorkerCounts) -> Metric:
        family = CounterMetricFamily(
            "afterwards_host_events",
            "Times a host's event loop was blocked for long, or a host ended with attempts in it.",
            labels=["executor", "event"],
        )
        for event in HOST_EVENTS:
            # Told as zero before its first time, so that this is seen as an increase.
            family.add_metric(event, of_workers.hosts.get(event, 0))
        return family

    def _http(self, of_workers: WorkerCounts) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "afterwards_http_requests",
            "HTTP requests answered.",
            labels=["method", "route", "status"],
        )
        for labels, number in sorted(of_workers.requests.items()):
            requests.add_metric(list(labels), number)
        yield requests
        seconds = HistogramMetricFamily(
            "afterwards_http_request_duration_seconds",
            "Time from the request's arrival until its answer was sent.",
            labels=["method", "route"],
        )
        for key, (*numbers, nanoseconds) in sorted(of_workers.seconds.items()):
            buckets = _cumulative(HTTP_SECONDS, numbers)
            seconds.add_metric(list(key), buckets, sum_value=nanoseconds / 1e9)
        yield seconds

    def _histogram(self, family: _Family) -> Metric:
        metric = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        cells = self._kept.histograms.get(family.name, {})
        if not family.labels:
            # Told as zero before its first observation, so that this is seen as an increase.
            cells = {"": [0.0] * (len(family.bounds) + 2), **cells}
        for label, (*numbers, value) in sorted(cells.items()):
            labels = [label] if family.labels else []
            metric.add_metric(labels, _cumulative(family.bounds, numbers), sum_value=value)
        return metric


def _cumulative(bounds: Sequence[float], numbers: Sequence[float]) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    so_far = 0.0
    # As prometheus_client writes them: "1.0" and not "1".
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    for name, number in zip(names, numbers, strict=True):
        so_far += number
        buckets.append((name, so_far))
    return buckets
