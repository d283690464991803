"""The leases of workers, as the leader measures them: by its own clock, on numbers that grow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from afterwards.registry.protocol.base import ALIVE_SECONDS


@dataclass
class _Lease:
    beats: int
    alives: int
    beaten_at: float
    ends_at: float


class Leases:
    """Knows which workers have been silent for too long.

    A leader that has just begun gives each worker a whole lease.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._leases: dict[str, _Lease] = {}

    def look(self, rows: Iterable[tuple[str, int, int]], now: float) -> list[str]:
        """The workers whose lease has ended.

        Args:
            rows: of each worker its name, its beats, and how often it has said that it is alive.
            now: on the running clock.
        """
        before, self._leases = self._leases, {}
        for name, beats, alives in rows:
            lease = before.get(name)
            if lease is None or lease.beats != beats:
                lease = _Lease(beats, alives, now, now + self._seconds)
            elif lease.alives != alives:
                lease.alives = alives
                latest = min(now + self._seconds, lease.beaten_at + ALIVE_SECONDS)
                lease.ends_at = max(lease.ends_at, latest)
            self._leases[name] = lease
        return [name for name, lease in self._leases.items() if lease.ends_at <= now]

    def seconds_left(self, name: str, now: float) -> float | None:
        """The rest of a worker's lease; None: it is not known."""
        lease = self._leases.get(name)
        return None if lease is None else max(0.0, lease.ends_at - now)
