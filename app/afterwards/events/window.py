"""The latest events, as this worker has them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from afterwards.registry.protocol.answers import Event

WINDOW_EVENTS: Final = 10_000
_POSITION: Final = re.compile(r"([0-9a-f]{1,64})-([0-9]{1,18})", re.ASCII)


class Position(NamedTuple):
    """A place in the order of all events: after the one with this sequence."""

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The inverse of `str`; anything else is a position of no epoch."""
        found = _POSITION.fullmatch(text)
        return cls(found[1], int(found[2])) if found else NOWHERE


NOWHERE: Final = Position("", 0)


class Window:
    """Events without a gap, up to the last that was followed."""

    def __init__(self) -> None:
        self.epoch = ""
        """Empty: nothing was followed yet."""
        self.last = 0
        """The last sequence."""
        self._known = 0
        """A sequence that the registry has, which may be beyond `last`."""
        self._events: list[Event] = []

    @property
    def end(self) -> Position:
        """The position of the next event."""
        return Position(self.epoch, self.last)

    @property
    def start(self) -> int:
        """The lowest sequence after which everything is here."""
        return self.last - len(self._events)

    def restart(self, epoch: str, sequence: int) -> None:
        """Events were missed, or it is another epoch: begin again after `sequence`."""
        self.epoch, self.last, self._known = epoch, sequence, sequence
        self._events = []

    def append(self, events: Sequence[Event]) -> None:
        """Add what follows, and forget the oldest if there are too many."""
        if events:
            self._events.extend(events)
            self.last = events[-1].sequence
            self._known = max(self._known, self.last)
            if len(self._events) > 2 * WINDOW_EVENTS:
                del self._events[:-WINDOW_EVENTS]

    def prepend(self, events: Sequence[Event], known: int) -> None:
        """Add what came before, as far as it joins; the registry was at `known` by then."""
        self._known = max(self._known, known)
        before = [event for event in events if event.sequence <= self.start]
        if before and before[-1].sequence == self.start:
            self._events[:0] = before

    def has(self, position: Position) -> bool:
        """True if everything after the position is here, or will come."""
        return position.epoch == self.epoch and self.start <= position.sequence <= self._known

    def after(self, sequence: int, limit: int | None = None) -> Sequence[Event]:
        """The events after `sequence`, the oldest `limit` of them. They have to be here."""
        first = max(0, sequence - self.start)
        return self._events[first : None if limit is None else first + limit]
