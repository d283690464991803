"""The service on one page, once a second, as server-sent events."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.event_frames import WAITING, opening
from afterwards.api.events import EventStream, come_again
from afterwards.api.limits import held
from afterwards.api.queries import require_known
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.submission import service_of
from afterwards.api.times import shown_time
from afterwards.counts import RETRYING, TASKS
from afterwards.errors import Draining
from afterwards.events.statistics import StatisticsFrame
from afterwards.lifecycle import FINAL_STATES, TaskState
from afterwards.registry.protocol.answers import Statistics

router = new_router("Events")

MAX_FRAME_BYTES: Final = 5_000
MAX_TYPES: Final = 100
_MAX_PAUSED_BYTES: Final = 1_500

_STATES: Final = (*(state.value for state in TaskState), RETRYING)
_UNFINISHED: Final = tuple(state.value for state in TaskState if state not in FINAL_STATES)

_EXAMPLE: Final = """\
event: stats
data: {"at":"2026-11-21T10:00:00.000000+00:00","tasks":{"scheduled":0,"pending":2,"processing":1,\
"success":40,"failed":1,"cancelled":0,"retrying":0},"per_second":{"submitted":0.5,"finished":0.4,\
"failed":0.0},"slots":{"async":{"busy":1,"free":9999,"stuck":0}},"workers":2,\
"oldest_pending_seconds":0.01,"paused_types":[],\
"by_type":{"notification":{"pending":2,"processing":1,"success":40,"failed":1}},"types_left_out":0}

"""


@router.get(
    "/stats/events",
    summary="Follow the statistics",
    operation_id="followStatistics",
    status_code=200,
    response_class=EventStream,
    response_description="Events, as long as the client stays connected",
    responses={
        **schemas.answers(
            422,
            said={422: ("The query is not valid.", "#/range: is not known here; there are none")},
        ),
        200: {"content": {"text/event-stream": {"example": _EXAMPLE}}},
    },
)
@needs(Role.VIEWER)
async def statistics_events(request: Request) -> Response:
    """Send `stats` at once, and then once a second: the service on one page.

    While the registry is away, only comments come.
    """
    require_known(request, (), "is not known here; there are none")
    async with AsyncExitStack() as stack:
        stack.enter_context(held(request.scope, "streams"))
        try:
            stream = await stack.enter_async_context(service_of(request).statistics_stream())
        except Draining:
            return come_again()

        def render(frame: StatisticsFrame) -> bytes:
            return stream.shown(frame, statistics_frame)

        return EventStream(stream, opening(), render, stack.pop_all())


def statistics_frame(frame: StatisticsFrame) -> bytes:
    """A frame as an event; a comment while the registry is away."""
    if frame.statistics is None:
        return WAITING
    return b"event: stats\ndata: %b\n\n" % _document(frame.at, frame.statistics).encode()


def slots_by_kind(slots: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """The numbers of slots by executor kind and state."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (executor, state), number in sorted(slots.items()):
        found[executor][state] = number
    return found


def _document(at: float, statistics: Statistics) -> str:
    """As JSON of at most `MAX_FRAME_BYTES`, with as many types as that has room for."""
    snapshot = statistics.snapshot
    of_types: defaultdict[str, dict[str, int]] = defaultdict(dict)
    tasks: Counter[str] = Counter()
    for (counter, type_name, label), number in snapshot.counts.items():
        state = RETRYING if counter == RETRYING else str(label)
        if number and counter in (TASKS, RETRYING):
            of_types[type_name][state] = number
            tasks[state] += number
    start = _encode(
        {
            "at": shown_time(at),
            "tasks": {state: tasks[state] for state in _STATES},
            "per_second": statistics.per_second,
            "slots": slots_by_kind(snapshot.slots),
            "workers": snapshot.workers,
            "oldest_pending_seconds": round(snapshot.oldest_pending_seconds, 3),
            "paused_types": _within(sorted(statistics.paused_types), _MAX_PAUSED_BYTES),
        }
    )
    entries = [
        f"{_encode(name)}:{_encode(of_types[name])}"
        for name in sorted(of_types, key=lambda name: (-_unfinished(of_types[name]), name))
    ]
    shown = _within(entries[:MAX_TYPES], MAX_FRAME_BYTES - len(start) - 100)
    left_out = len(entries) - len(shown)
    return f'{start[:-1]},"by_type":{{{",".join(shown)}}},"types_left_out":{left_out}}}'


def _unfinished(states: dict[str, int]) -> int:
    return sum(states.get(state, 0) for state in _UNFINISHED)


def _within(texts: Sequence[str], size: int) -> list[str]:
    """The first of them, as far as they have room."""
    found: list[str] = []
    for text in texts:
        size -= len(text) + 3
        if size < 0:
            break
        found.append(text)
    return found


def _encode(value: Any) -> str:
    # ASCII: so many characters are so many bytes.
    return json.dumps(value, separators=(",", ":"))
