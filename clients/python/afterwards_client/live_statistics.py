"""The service in numbers, once a second, as a stream. Nothing here does I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from afterwards_client import calls
from afterwards_client.event_stream import Message
from afterwards_client.retries import Retries
from afterwards_client.statistics import Slots
from afterwards_client.subscription import Following


@dataclass(frozen=True, kw_only=True)
class LiveStatistics:
    """The service at one moment."""

    at: datetime
    tasks: Mapping[str, int]
    """The numbers of stored tasks, by status, and `retrying`."""
    per_second: Mapping[str, float]
    """`submitted`, `finished` and `failed`, on average of the last ten seconds."""
    slots: Mapping[str, Slots]
    """By executor, in all workers together."""
    workers: int
    oldest_pending_seconds: float
    paused_types: Sequence[str]
    by_type: Mapping[str, Mapping[str, int]]
    """The types with the most unfinished tasks; numbers that are 0 are left out."""
    types_left_out: int
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(
            at=datetime.fromisoformat(document["at"]),
            tasks=document["tasks"],
            per_second=document["per_second"],
            slots=Slots.by_kind(document["slots"]),
            workers=document["workers"],
            oldest_pending_seconds=document["oldest_pending_seconds"],
            paused_types=tuple(document["paused_types"]),
            by_type=document["by_type"],
            types_left_out=document["types_left_out"],
            document=document,
        )


class StatisticsSubscription(Following[LiveStatistics]):
    """The stream of statistics. Each event has all, so a new connection makes up for nothing."""

    def __init__(self, retries: Retries) -> None:
        super().__init__(None, retries)

    def call(self) -> calls.Call[None]:
        return calls.stream("/stats/events", {})

    def _read(self, message: Message) -> LiveStatistics | None:
        if message.event != "stats":
            return None
        return LiveStatistics.of(json.loads(message.data))
