"""Calls on an event loop: a host of the `async` executor. The loop reads the wire itself."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Coroutine
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Any, Final

from afterwards_executors.base import Outcome
from afterwards_executors.calls import failure_of, outcome_of, starved
from afterwards_executors.frames import SECONDS, Frame, Kind, Setup, decode_call, frame
from afterwards_executors.host_end import run_callbacks_on_loop
from afterwards_executors.inside import streams
from afterwards_executors.inside.forks import end_with_this_step
from afterwards_executors.inside.line import HostLine
from afterwards_executors.inside.surroundings import ProcessState
from afterwards_executors.inside.tasks import CallTask, make_task
from afterwards_executors.inside.watchdog import Watchdog
from afterwards_executors.inside.wire import WORN, Wire, refusal
from afterwards_executors.progress import CURRENT

try:
    # A faster loop where there is one; nothing here depends on it.
    import uvloop
except ImportError:
    _new_event_loop = asyncio.new_event_loop
else:
    _new_event_loop = uvloop.new_event_loop

log = logging.getLogger(__name__)

STRAYS_SECONDS: Final = 1.0
"""The time in which tasks that calls have left behind have to clean up when the host ends."""


def serve(wire: Wire, setup: Setup) -> None:
    """Run what comes; returns when nothing more will."""
    loop = _new_event_loop()
    asyncio.set_event_loop(loop)
    os.register_at_fork(after_in_child=partial(end_with_this_step, serve.__code__))
    host = _Host(loop, wire, setup.blocked_seconds)
    wire.ready()
    # The first calls may have come with the setup.
    loop.call_soon(host.read)
    while not host.is_over:
        try:
            # A call may stop it, or leave by SystemExit in a task of its own; others go on.
            loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - see above
            log.warning("a task that a call has left behind raised %r", error)
    loop.remove_reader(wire.fileno())
    loop.run_until_complete(run_callbacks_on_loop())
    strays = asyncio.all_tasks(loop)
    for task in strays:
        task.cancel()
    if strays:
        loop.run_until_complete(asyncio.wait(strays, timeout=STRAYS_SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())


class _Host:
    """The calls of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wire: Wire, blocked_seconds: float) -> None:
        self._loop = loop
        self._wire = wire
        self._watchdog = Watchdog(loop, wire, blocked_seconds, self._listen)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._lines: dict[int, HostLine] = {}
        self._heard: deque[Frame] = deque()
        self._state = ProcessState()
        self._ended: list[bytes] = []
        # Callbacks of the loop would otherwise run in the context of whichever call armed them.
        self._context = Context()
        self.is_over = False
        self._watchdog.start()

    def _listen(self) -> None:
        # Again and again: a call may have taken the reader from the loop, and the factory.
        self._loop.add_reader(self._wire.fileno(), self.read)
        self._loop.set_task_factory(make_task)

    def read(self) -> None:
        """Do what the frames say that are here."""
        try:
            frames = self._wire.receive_all()
        except OSError:
            frames = None
        if frames is None:
            self._leave()
            return
        runs = sum(request.kind == Kind.RUN for request in frames)
        if runs:
            if not self._tasks:
                self._state.restore()
            # In one piece, before any of them has its turn.
            self._wire.begun(runs, self._watchdog.kept_seconds())
        self._heard.extend(frames)
        # One by one: a signal handler of a call's may raise something here at any time.
        while self._heard:
            self._do(self._heard.popleft())

    def _do(self, request: Frame) -> None:
        if request.kind == Kind.RUN:
            self._begin(request)
        elif request.kind == Kind.STOP:
            self._stop(request.call)
        elif request.kind == Kind.ANSWER:
            if (line := self._lines.get(request.call)) is not None:
                line.answered(request.body)
        elif request.kind == Kind.PING:
            body = SECONDS.pack(self._watchdog.kept_seconds())
            self._wire.send(frame(Kind.ALIVE, request.call, body))
        elif request.kind == Kind.WIND_UP:
            self._wire.winds_up = True
        elif request.kind == Kind.LEAVE:
            self._leave()

    def _begin(self, request: Frame) -> None:
        number = request.call
        line = self._lines[number] = HostLine(self._wire, number)
        coroutine: Coroutine[Any, Any, None] | None = None
        try:
            context = Context()
            context.run(CURRENT.set, line)
            coroutine = self._run(request)
            self._tasks[number] = CallTask(coroutine, loop=self._loop, context=context)
        except Exception as error:  # noqa: BLE001 - memory has run out
            if coroutine is not None:
                coroutine.close()
            self._end(number, starved(error))

    async def _run(self, request: Frame) -> None:
        started = monotonic()
        try:
            function, args = decode_call(request.body)
        except BaseException as error:  # noqa: BLE001 - imports and unpickling run foreign code
            self._end(request.call, refusal("The call cannot be loaded in its host", error, 0.0))
            return
        try:
            outcome = outcome_of(await function(*args), monotonic() - started)
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the loop for all calls
            outcome = failure_of(error, monotonic() - started)
        if self._wire.is_open():  # else a fork has come back from the call
            self._end(request.call, outcome)

    def _stop(self, number: int) -> None:
        line, task = self._lines.get(number), self._tasks.get(number)
        if line is not None:
            line.is_stop_asked = True
        if task is not None:
            # One that has not begun to run ends before its first line, and would say nothing.
            self._loop.call_soon(task.cancel, context=self._context)

    def _end(self, number: int, outcome: Outcome) -> None:
        self._tasks.pop(number, None)
        self._lines.pop(number).close()
        streams.finish(number)
        if not self._ended:
            # Those that end in the same turn of the loop go together.
            self._loop.call_soon(self._send_ended, context=self._context)
        self._ended.append(self._wire.ended(number, outcome))

    def _send_ended(self) -> None:
        ended, self._ended = self._ended, []
        try:
            if self._state.is_short_of_descriptors():
                ended.insert(0, WORN)
            self._wire.send(*ended)
        except OSError:
            self._leave()

    def _leave(self) -> None:
        self.is_over = True
        self._loop.stop()
