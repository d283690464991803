"""The use of keys in all workers together: what each is told, so that limits hold over all.

Nothing of it is written: after a restart the buckets are full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from afterwards.access.key import Key
from afterwards.access.meters import Left, Use, capacity, is_metered
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.key_requests import Share
from afterwards.registry.state.ledger import Ledger, WorkerRecord


class Shares:
    """The buckets of all keys with limits. Full ones take no memory.

    Args:
        key: gives a key by its id; None: there is none.
    """

    def __init__(self, clock: Clock, key: Callable[[str], Key | None], ledger: Ledger) -> None:
        self._clock = clock
        self._key = key
        self._ledger: Final = ledger
        self.buckets: dict[str, tuple[float, float]] = {}
        """Levels, and the times (`elapsed` clock) at which they were so."""

    def share(self, worker: Worker | None, request: Share) -> Mapping[str, Left]:
        """Take in what a worker has used, and tell what all have."""
        now = self._clock.elapsed()
        own = None if worker is None else self._ledger.find(str(worker))
        if own is not None:
            own.uses = {
                key_id: use for key_id, use in request.used.items() if use.streams or use.waits
            }
        others = self._uses_beside(own)
        # A beat asks for all that is in use: what others have spent, this worker has to know
        # before its own first request with the same key.
        wanted = set(request.used)
        if request.everything:
            wanted |= {*self.buckets, *others}
        left = {}
        for key_id in wanted:
            spent = request.used.get(key_id, Use()).requests
            one = self._left(key_id, spent, others.get(key_id, Use()), now)
            if one is not None:
                left[key_id] = one
        return left

    def __len__(self) -> int:
        return len(self.buckets)

    def _left(self, key_id: str, spent: int, others: Use, now: float) -> Left | None:
        key = self._key(key_id)
        if key is None or not is_metered(key.limits):
            self.buckets.pop(key_id, None)
            return None
        full = capacity(key.limits)
        level, at = self.buckets.get(key_id, (full, now))
        rate = key.limits.requests_per_second or 0.0
        level = min(full, level + (now - at) * rate) - spent
        if level < full and rate:
            self.buckets[key_id] = level, now
        else:
            self.buckets.pop(key_id, None)
        return Left(level, others.streams, others.waits)

    def _uses_beside(self, own: WorkerRecord | None) -> dict[str, Use]:
        streams, waits = Counter[str](), Counter[str]()
        for record in self._ledger:
            if record is own or record.gone:
                continue
            for key_id, use in record.uses.items():
                streams[key_id] += use.streams
                waits[key_id] += use.waits
        return {key_id: Use(0, streams[key_id], waits[key_id]) for key_id in streams}
