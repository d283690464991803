"""The workers as the registry knows them, and the registry itself."""

from __future__ import annotations

import math
import os
from collections import Counter
from itertools import islice
from typing import Final

from afterwards.registry.protocol.answers import (
    RegistryView,
    RunningAttempt,
    WorkerList,
    WorkerView,
)
from afterwards.registry.state.ledger import WorkerRecord
from afterwards.registry.state.rules import Rules
from afterwards.system.processes import memory_bytes

MAX_ATTEMPTS: Final = 100
"""The number of a worker's attempts that are told one by one."""


def worker_list(rules: Rules, uptime_seconds: float) -> WorkerList:
    """All workers whose processes run."""
    now = rules.clock.running()
    workers = [_view(record, now) for record in rules.ledger if not record.gone]
    pid = os.getpid()
    return WorkerList(workers, RegistryView(pid, uptime_seconds, memory_bytes(pid)))


def slots_of(record: WorkerRecord) -> Counter[tuple[str, str]]:
    """The numbers of a worker's slots, by executor kind and `busy`, `free` or `stuck`."""
    slots: Counter[tuple[str, str]] = Counter()
    for kind, usable in record.slots.items():
        # What is stuck has its claim until it has ended.
        held, stuck = record.used[kind], record.stuck.get(kind, 0)
        slots[kind, "busy"] = max(0, held - stuck)
        slots[kind, "free"] = max(0, usable - held)
        slots[kind, "stuck"] = stuck
    return slots


def _view(record: WorkerRecord, now: float) -> WorkerView:
    left = record.lease_ends - now
    # In the order in which they were claimed.
    oldest = islice(record.held.values(), MAX_ATTEMPTS)
    return WorkerView(
        id=str(record.worker),
        pid=record.worker.pid,
        generation=record.generation,
        draining=record.draining,
        lease_seconds_left=max(0.0, left) if math.isfinite(left) else None,
        slots=slots_of(record),
        report=record.report,
        running=[
            RunningAttempt(task.id, task.type, task.attempt, task.started_at or 0.0)
            for task in oldest
        ],
        running_total=len(record.held),
    )
