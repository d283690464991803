"""The evidence of a run: all tasks of the service with their attempts, once all have ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from afterwards.lifecycle import FINAL_STATES, Task, TaskState
from afterwards.registry.protocol.answers import AttemptRecord, Details, Page
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import Find, Inspect, RunNow
from afterwards.webhooks.webhook import DELIVERY
from tests.chaos.killer import Kill
from tests.reliability.conftest import FaultyService

INTERRUPTED: Final = frozenset({"lost", "suspected", "released"})
"""The ends of attempts of which it is not known how far they came."""

UNFINISHED: Final = frozenset(TaskState) - FINAL_STATES
EFFECTS: Final = frozenset({"email", "notification", "http", DELIVERY})
"""The types whose attempts run in hosts of effects, and leave no trace of their own."""

MARGIN_SECONDS: Final = 15.0
"""From a strike to the end of an attempt that it has ended: its victim may be frozen, or drain."""

_PAGE: Final = 500
_INSPECTED_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Evidence:
    """All tasks by their ids, and the attempts of those that have begun more than one."""

    tasks: Mapping[str, Task]
    histories: Mapping[str, Sequence[AttemptRecord]]

    @classmethod
    def of(cls, service: FaultyService) -> Evidence:
        """Read it from the registry of a service whose tasks have all ended."""
        tasks = {task.id: task for task in _all_tasks(service)}
        several = [task.id for task in tasks.values() if task.attempt > 1]
        histories: dict[str, Sequence[AttemptRecord]] = {}
        for first in range(0, len(several), _INSPECTED_AT_ONCE):
            asked = several[first : first + _INSPECTED_AT_ONCE]
            answers = service.ask_all([Inspect(task_id) for task_id in asked])
            for task_id, details in zip(asked, answers, strict=True):
                assert isinstance(details, Details), details
                histories[task_id] = details.attempts
        return cls(tasks, histories)

    def of_type(self, *names: str) -> list[Task]:
        """All tasks of these types."""
        return [task for task in self.tasks.values() if task.type in names]

    def interrupted(self, task_id: str) -> frozenset[int]:
        """The numbers of the attempts of which it is not known how far they came."""
        records = self.histories.get(task_id, ())
        return frozenset(one.attempt for one in records if one.outcome in INTERRUPTED)

    def successful(self, task_id: str) -> frozenset[int]:
        """The number of the attempt that has succeeded, if one has."""
        task = self.tasks[task_id]
        return frozenset({task.attempt} if task.state is TaskState.SUCCESS else ())

    @cached_property
    def children(self) -> Mapping[str, Sequence[Task]]:
        """The children of each task that has any, in the order of their acceptance."""
        found: dict[str, list[Task]] = {}
        for task in sorted(self.tasks.values(), key=lambda task: task.order):
            if task.parent is not None:
                found.setdefault(task.parent, []).append(task)
        return found

    @cached_property
    def deliveries(self) -> Sequence[Task]:
        """The deliveries of webhooks and callbacks."""
        return self.of_type(DELIVERY)


def _all_tasks(service: FaultyService) -> Iterator[Task]:
    before = None
    while True:
        page = service.ask(Find(limit=_PAGE, before=before))
        assert isinstance(page, Page), page
        yield from page.tasks
        before = page.next
        if before is None:
            return


def hurried(service: FaultyService) -> Sequence[Task]:
    """Make waiting deliveries due, and give some of the tasks that have not ended.

    One that was refused, and then lost too often, would wait for hours.
    """
    page = service.ask(Find(Filter(states=UNFINISHED), limit=_PAGE))
    assert isinstance(page, Page), page
    for task in page.tasks:
        if task.type == DELIVERY and task.state is TaskState.SCHEDULED:
            service.ask(RunNow(task.id))
    return page.tasks


def without_reason(evidence: Evidence, kills: Sequence[Kill]) -> list[str]:
    """The interruptions of effects that no strike at their host or its worker explains."""
    since_boot = time.time() - time.monotonic()
    return [
        f"interrupted without a reason: {task_id} {record}"
        for task_id, records in evidence.histories.items()
        if evidence.tasks[task_id].type in EFFECTS
        for record in records
        if record.outcome in INTERRUPTED and not _is_explained(record, kills, since_boot)
    ]


def _is_explained(record: AttemptRecord, kills: Sequence[Kill], since_boot: float) -> bool:
    worker = Worker.parse(record.worker).pid
    ended_at = record.finished_at or record.started_at
    return any(
        record.started_at - MARGIN_SECONDS < kill.at + since_boot < ended_at + 1.0
        and (worker in kill.pids or worker == kill.parent)
        for kill in kills
    )
