"""The workers as the registry knows them, and the registry itself."""

from __future__ import annotations

import math
import os

from afterwards.registry.protocol.answers import RegistryView, WorkerList, WorkerView
from afterwards.registry.state.fleet import view_of
from afterwards.registry.state.ledger import WorkerRecord
from afterwards.registry.state.rules import Rules
from afterwards.system.processes import memory_bytes


def worker_list(rules: Rules, uptime_seconds: float) -> WorkerList:
    """All workers whose processes run."""
    now = rules.clock.running()
    workers = [_view(record, now) for record in rules.ledger if not record.gone]
    pid = os.getpid()
    return WorkerList(workers, RegistryView(pid, uptime_seconds, memory_bytes(pid)))


def _view(record: WorkerRecord, now: float) -> WorkerView:
    left = record.lease_ends - now
    seconds_left = max(0.0, left) if math.isfinite(left) else None
    return view_of(record, record.held.values(), len(record.held), seconds_left)
