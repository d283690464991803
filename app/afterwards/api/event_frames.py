"""Events as `text/event-stream` (HTML, 9.2) has them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from afterwards.api.task_document import base_document
from afterwards.api.times import shown_time
from afterwards.events.streams import Portion, Reset, Snapshot
from afterwards.events.window import Position
from afterwards.lifecycle import TaskState
from afterwards.registry.protocol.answers import Event
from afterwards.service.hidden import NO_REASON

RETRY_MILLISECONDS: Final = 1_000
"""The time after which a client should come back when its connection has ended."""

_MAX_JOINED: Final = 4
"""Selections of a portion that are kept for others. To put one together again costs little."""

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


def opening(position: Position | None = None) -> bytes:
    """The first frame of a stream. An id alone is remembered by the client and is no event."""
    return b"retry: %d\n%b\n" % (RETRY_MILLISECONDS, b"" if position is None else _id(position))


WAITING: Final = b": the registry is away; the stream goes on when it is back\n\n"
"""Follows the opening of a stream that cannot begin yet."""


END: Final = b'event: end\ndata: {"reason":"The key was revoked, or has expired"}\n\n'
"""Follows what a key had a right to. A client that comes back is told so (401)."""


def heartbeat(position: Position) -> bytes:
    """A sign of life, and how far the stream is.

    A listener to something quiet would come back with an id that is not kept any more.
    """
    return b": heartbeat\n%b\n" % _id(position)


def snapshot_frame(snapshot: Snapshot) -> bytes:
    """The state of a task."""
    # JSON of others may have line breaks, as white space.
    document = base_document(snapshot.task, snapshot.progress).replace(b"\r", b" ")
    return _frame(snapshot.position, b"task", document.replace(b"\n", b" "))


def reset_frame(reset: Reset) -> bytes:
    """The state of everything, after events were missed."""
    counts: dict[str, dict[str, int]] = {}
    for (type_name, state), number in sorted(reset.counts.items()):
        if number:
            counts.setdefault(type_name, {})[state.value] = number
    return _frame(reset.position, b"reset", _encode({"counts": counts}).encode())


def portion_frames(portion: Portion) -> bytes:
    """Several events."""
    epoch = portion.start.epoch
    return b"".join(_event_frame(epoch, event) for event in portion.events)


class Wanted:
    """Which events a listener wants; empty conditions take all.

    Progress counts as an event of the state it is made in.
    """

    def __init__(
        self,
        types: Collection[str],
        states: Collection[TaskState],
        task_ids: Collection[str] = (),
    ) -> None:
        self._types = frozenset(types)
        self._states = frozenset(states)
        self.task_ids = frozenset(task_ids)

    def takes(self, type_name: str, state: TaskState) -> bool:
        """True if events of this type and state are some of them."""
        return (not self._types or type_name in self._types) and (
            not self._states or state in self._states
        )


class SharedFrames:
    """A portion's events as many listeners want them, each event rendered once for all.

    A listener's conditions are held against the types and states in the portion, which are few,
    and not against its events. Those that come to the same share the bytes, too.
    """

    def __init__(self, portion: Portion) -> None:
        self._portion = portion
        self._cells = [(event.type, event.state) for event in portion.events]
        self._different = frozenset(self._cells)
        self._frames: dict[int, bytes] = {}
        self._tasks: frozenset[str] | None = None
        """The ids of all events; None: not asked for yet."""
        self._joined: dict[frozenset[tuple[str, TaskState]], bytes] = {}

    def of(self, wanted: Wanted) -> bytes:
        """The events that are wanted; empty if none is."""
        if wanted.task_ids:
            return self._of_tasks(wanted)
        taken = frozenset(cell for cell in self._different if wanted.takes(*cell))
        joined = self._joined.get(taken)
        if joined is None:
            places = (place for place, cell in enumerate(self._cells) if cell in taken)
            joined = b"".join([self._frame(place) for place in places])
            if len(self._joined) < _MAX_JOINED:
                self._joined[taken] = joined
        return joined

    def _of_tasks(self, wanted: Wanted) -> bytes:
        # Mostly none of a few tasks is among the hundreds of a portion.
        if self._tasks is None:
            self._tasks = frozenset(event.task_id for event in self._portion.events)
        ids = wanted.task_ids & self._tasks
        if not ids:
            return b""
        places = (
            place
            for place, event in enumerate(self._portion.events)
            if event.task_id in ids and wanted.takes(event.type, event.state)
        )
        return b"".join([self._frame(place) for place in places])

    def _frame(self, place: int) -> bytes:
        frame = self._frames.get(place)
        if frame is None:
            frame = _event_frame(self._portion.start.epoch, self._portion.events[place])
            self._frames[place] = frame
        return frame


def _event_frame(epoch: str, event: Event) -> bytes:
    data: Mapping[str, Any]
    task = {"task_id": event.task_id, "type": event.type}
    mark = event.progress
    if mark is None:
        name = b"state"
        data = {
            **task,
            "status": event.state.value,
            "at": shown_time(event.at),
            "reason": event.reason,
            "attempt": event.attempt,
        }
        if event.reason == NO_REASON:
            data = {**data, "reason": None, "redacted": True}
    else:
        name = b"progress"
        data = {
            **task,
            "at": shown_time(mark.at),
            "attempt": mark.attempt,
            "fraction": mark.fraction,
            "message": mark.message,
        }
    return _frame(Position(epoch, event.sequence), name, _encode(data).encode())


def _frame(position: Position, name: bytes, data: bytes) -> bytes:
    return b"%bevent: %b\ndata: %b\n\n" % (_id(position), name, data)


def _id(position: Position) -> bytes:
    # Without an epoch it is no position: nothing was followed yet.
    return b"id: %b\n" % str(position).encode() if position.epoch else b""
