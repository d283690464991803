"""Server-sent events: what happens to one task, or to all, as it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final

from fastapi import Header, Query, Request
from pydantic import StringConstraints
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from afterwards.api import schemas
from afterwards.api.event_frames import (
    END,
    WAITING,
    SharedFrames,
    Wanted,
    heartbeat,
    opening,
    portion_frames,
    reset_frame,
    snapshot_frame,
)
from afterwards.api.lapses import Lapses
from afterwards.api.limits import held
from afterwards.api.queries import require_known
from afterwards.api.redaction import redaction_of
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.submission import service_of
from afterwards.errors import Draining
from afterwards.events.statistics import StatisticsFrame, StatisticsStream
from afterwards.events.streams import (
    AllStream,
    Portion,
    Reset,
    Snapshot,
)
from afterwards.events.task_stream import TaskStream
from afterwards.events.window import Position
from afterwards.lifecycle import TaskState

router = new_router("Events")

_QUERY: Final = ("task_id", "type", "status", "last_event_id")

MAX_TASKS: Final = 100

HEARTBEAT_SECONDS: Final = 15.0

_UUID: Final = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

_Item = Portion | Reset | Snapshot | StatisticsFrame

_EXAMPLE: Final = """\
id: 5b0c1f2e8a9d4c37-41
event: state
data: {"task_id":"2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11","type":"report","status":"processing",\
"at":"2025-06-26T10:00:00.000000+00:00","reason":"claimed","attempt":1}

"""

_RESUME_HELP: Final = (
    "The `id` of the last event that the client has seen. The stream continues after it. "
    "`EventSource` sends this header by itself."
)
_EXAMPLES: Final[dict[str, Any]] = {"seen": {"value": "5b0c1f2e8a9d4c37-41"}}
_LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description=_RESUME_HELP, openapi_examples=_EXAMPLES),
]
_LastEventIdQuery = Annotated[
    str | None,
    Query(
        alias="last_event_id",
        description="The same as `Last-Event-ID`, for clients that cannot send headers.",
        openapi_examples=_EXAMPLES,
    ),
]
_TaskIds = Annotated[
    list[Annotated[str, StringConstraints(pattern=_UUID)]] | None,
    Query(
        alias="task_id",
        max_length=MAX_TASKS,
        description=f"Only events of these tasks, up to {MAX_TASKS}.",
        openapi_examples={"one": {"value": [schemas.EXAMPLE_ID]}},
    ),
]
_Types = Annotated[
    list[str] | None,
    Query(
        alias="type",
        description="Only events of these task types.",
        openapi_examples={"reports": {"value": ["report"]}},
    ),
]
_States = Annotated[
    list[TaskState] | None,
    Query(
        alias="status",
        description="Only changes into these states. Progress belongs to `processing`.",
        openapi_examples={"ends": {"value": ["success", "failed", "cancelled"]}},
    ),
]


_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    # So that a stop is not held by it once the stream is over.
    "Connection": "close",
}


class EventStream(Response):
    """Sends what a stream gives until it is over or is not read any more.

    Args:
        render: an item's bytes; empty if there is nothing in it for this client.
        leave: closed at the end.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        stream: AllStream | TaskStream | StatisticsStream,
        first: bytes,
        render: Callable[[Any], bytes],
        leave: AsyncExitStack,
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._stream = stream
        self._first = first + WAITING if stream.is_waiting else first
        self._render = render
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        lapses: Lapses = scope["app"].state.gate.lapses
        async with self._leave:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            last = b""
            if scope["method"] != "HEAD":
                with lapses.watched(scope["principal"]) as lapse:
                    sending = asyncio.create_task(self._send_all(send))
                    await self._until_gone(receive, sending, lapse)
                    last = END if lapse.done() else b""
            await send({"type": "http.response.body", "body": last})

    async def _until_gone(
        self, receive: Receive, sending: asyncio.Task[None], lapse: asyncio.Future[None]
    ) -> None:
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((sending, gone, lapse), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not sending.done():
                sending.cancel()
        await asyncio.wait((sending, gone))
        if not sending.cancelled():
            sending.result()

    async def _send_all(self, send: Send) -> None:
        stream = self._stream
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        due = time.monotonic() + HEARTBEAT_SECONDS
        while not stream.is_over:
            item: _Item | None = await stream.next(due - time.monotonic())
            chunk = b"" if item is None else self._render(item)
            if not chunk:
                if time.monotonic() < due:
                    continue
                chunk = heartbeat(stream.position)
            # Waits for a client that reads slowly; what comes meanwhile is kept for all at once.
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            due = time.monotonic() + HEARTBEAT_SECONDS
            # Who has much to catch up with does not keep the others waiting.
            await asyncio.sleep(0)


def come_again() -> Response:
    """The whole answer of a process that is about to stop: the next one goes on.

    To anything but a 200 `EventSource` would not come back (HTML, 9.2.3).
    """
    return Response(opening(), headers=_HEADERS, media_type=EventStream.media_type)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/tasks/{task_id}/events",
    summary="Follow a task",
    operation_id="followTask",
    status_code=200,
    response_class=EventStream,
    response_description="The task's events, until it is finished",
    responses={
        **schemas.answers(404, 410),
        200: {"content": {"text/event-stream": {"example": _EXAMPLE}}},
        204: {"description": "The task is finished, and the client has seen its last event."},
    },
)
@needs(Role.VIEWER)
async def task_events(
    task_id: schemas.TaskId,
    request: Request,
    last_event_id: _LastEventId = None,
    last_event_id_query: _LastEventIdQuery = None,
) -> Response:
    """The first event is `task`, the whole task. Then come `state` and `progress` as they happen.

    A client that sends the last id gets the events that it missed, each once. If the service no
    longer keeps them, the client gets `task` again. While the registry is away, the stream waits.
    """
    position = _position(last_event_id, last_event_id_query)
    async with AsyncExitStack() as stack:
        stack.enter_context(held(request.scope, "streams"))
        try:
            stream = await stack.enter_async_context(
                service_of(request).task_stream(task_id, position)
            )
        except Draining:
            return come_again()
        if stream.has_ended:
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        redaction = redaction_of(request)

        def render(item: Portion | Snapshot) -> bytes:
            if isinstance(item, Snapshot):
                return snapshot_frame(item._replace(task=redaction.task(item.task)))
            return portion_frames(item)

        return EventStream(stream, opening(), render, stack.pop_all())


@router.get(
    "/events",
    summary="Follow all tasks",
    operation_id="followTasks",
    status_code=200,
    response_class=EventStream,
    response_description="Events, as long as the client stays connected",
    responses={
        **schemas.answers(
            422,
            said={
                422: (
                    "The query is not valid.",
                    (
                        "#/status/0: Input should be 'scheduled', 'pending', 'processing', "
                        "'success', 'failed' or 'cancelled'"
                    ),
                )
            },
        ),
        200: {"content": {"text/event-stream": {"example": _EXAMPLE}}},
    },
)
@needs(Role.VIEWER)
async def all_events(
    request: Request,
    *,
    task_ids: _TaskIds = None,
    types: _Types = None,
    states: _States = None,
    last_event_id: _LastEventId = None,
    last_event_id_query: _LastEventIdQuery = None,
) -> Response:
    """Send `state` and `progress` of all tasks, from now on or from the client's last event on.

    If the service no longer keeps the events that the client missed, `reset` comes first, with
    the numbers of tasks. While the registry is away, the stream waits.
    """
    require_known(request, _QUERY, f"is not known here; there are {', '.join(_QUERY)}")
    wanted = Wanted(types or (), states or (), [one.lower() for one in task_ids or ()])
    position = _position(last_event_id, last_event_id_query)
    async with AsyncExitStack() as stack:
        stack.enter_context(held(request.scope, "streams"))
        try:
            stream = await stack.enter_async_context(service_of(request).all_streams(position))
        except Draining:
            return come_again()

        def render(item: Portion | Reset) -> bytes:
            if isinstance(item, Reset):
                return reset_frame(item)
            frames = stream.shared((item.start, item.end), lambda: SharedFrames(item))
            return frames.of(wanted)

        return EventStream(stream, opening(stream.position), render, stack.pop_all())


def _position(header: str | None, query: str | None) -> Position | None:
    # The header is newer: a client that reconnects has the query still in its URL.
    text = header or query
    return Position.parse(text) if text else None
