"""Which waiting task a worker's free slots are for."""

from __future__ import annotations

from collections.abc import Callable

from afterwards.registry.protocol.base import SUSPECTED
from afterwards.registry.state.ledger import Ledger, WorkerRecord
from afterwards.registry.state.queues import Crowd, ReadyQueue


class Slots:
    """Brings together who is ready and who has room.

    Args:
        ready: what waits.
        ledger: who holds what.
    """

    def __init__(self, ready: ReadyQueue, ledger: Ledger) -> None:
        self._ready = ready
        self._ledger = ledger

    def first(self, record: WorkerRecord, kind: str) -> str | None:
        """The task that this worker's next free slot of a kind is for; None: there is none."""
        may = self._types(record)
        if kind == SUSPECTED:
            firsts = (self._ready.first(crowd, may) for crowd in self._crowds(record))
            best = min((first for first in firsts if first is not None), default=None)
        else:
            best = self._ready.first(kind, may) if record.free(kind) else None
        return None if best is None else best[2]

    def wanted(self, record: WorkerRecord) -> bool:
        """True if any task waits for a slot that this worker has free."""
        may = self._types(record)
        for kind in record.slots:
            if kind == SUSPECTED:
                if any(self._ready.waits(crowd, may) for crowd in self._crowds(record)):
                    return True
            elif record.free(kind) and self._ready.waits(kind, may):
                return True
        return False

    def _types(self, record: WorkerRecord) -> Callable[[str], bool] | None:
        """Which types this worker may be given now; None: all (rule 23)."""
        return None if record.generation >= self._ledger.generation else record.runs_own

    def _crowds(self, record: WorkerRecord) -> list[Crowd]:
        """The suspects that this worker has room for."""
        return [
            crowd
            for crowd in self._ready.crowds()
            if record.has_room(crowd) and not (crowd.solo and self._ledger.solos)
        ]
