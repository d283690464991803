"""Calls in a pool of threads: a host of the `thread` executor. Its main thread reads the wire."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Final

from afterwards_executors.base import Outcome
from afterwards_executors.calls import starved
from afterwards_executors.frames import Frame, Kind, Setup
from afterwards_executors.inside import plain, streams
from afterwards_executors.inside.line import HostLine
from afterwards_executors.inside.surroundings import ProcessState
from afterwards_executors.inside.wire import WORN, Wire

_IDLE_SECONDS: Final = 60.0
"""A thread without a call ends after this time."""


def serve(wire: Wire, setup: Setup) -> None:
    """Run what comes; returns when nothing more will."""
    del setup
    state = ProcessState()
    pool = _Pool(wire, state)
    wire.ready()
    while (frames := wire.receive_some()) is not None:
        runs = sum(request.kind == Kind.RUN for request in frames)
        if runs:
            if pool.is_idle():
                state.restore()
            # In one piece, before any of them can end this process.
            wire.begun(runs)
        for request in frames:
            if request.kind == Kind.RUN:
                pool.run(request)
            elif request.kind == Kind.STOP:
                pool.ask_to_stop(request.call)
            elif request.kind == Kind.ANSWER:
                pool.answered(request)
            elif request.kind == Kind.WIND_UP:
                wire.winds_up = True
            elif request.kind == Kind.LEAVE:
                return


class _Pool:
    """Threads, started when they are needed. How many there are is decided at the other end."""

    def __init__(self, wire: Wire, state: ProcessState) -> None:
        self._wire = wire
        self._state = state
        self._changed = threading.Condition()
        self._waiting: deque[Frame] = deque()
        self._idle = 0
        self._lines: dict[int, HostLine] = {}

    def is_idle(self) -> bool:
        """True if no call runs."""
        return not self._lines

    def run(self, request: Frame) -> None:
        """Have a thread that idles, or a new one, run the call."""
        self._lines[request.call] = HostLine(self._wire, request.call)
        with self._changed:
            if self._idle > len(self._waiting):
                self._waiting.append(request)
                self._changed.notify()
                return
        try:
            threading.Thread(target=self._serve, args=[request], daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            self._end(request.call, starved(error))

    def ask_to_stop(self, call: int) -> None:
        """Let the call see that it had better end."""
        line = self._lines.get(call)
        if line is not None:
            line.is_stop_asked = True

    def answered(self, answer: Frame) -> None:
        """Let the call have the answer to its question."""
        line = self._lines.get(answer.call)
        if line is not None:
            line.answered(answer.body)

    def _serve(self, request: Frame | None) -> None:
        while request is not None:
            outcome = self._outcome_of(request)
            with self._changed:
                # Before the answer: the next call may come at once, and need no new thread.
                self._idle += 1
            self._end(request.call, outcome)
            request = self._next()

    def _next(self) -> Frame | None:
        """The next frame to run; None: there is none, and this thread is counted off."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(_IDLE_SECONDS)
            self._idle -= 1
            return self._waiting.popleft() if self._waiting else None

    def _outcome_of(self, request: Frame) -> Outcome:
        try:
            return plain.run(request, self._lines[request.call])
        finally:
            if not self._wire.is_open():
                os._exit(0)  # a fork that the call has left behind

    def _end(self, call: int, outcome: Outcome) -> None:
        self._lines.pop(call).close()
        streams.finish(call)
        try:
            worn = [WORN] if self._state.is_short_of_descriptors() else []
            self._wire.send(*worn, self._wire.ended(call, outcome))
        except OSError:
            # A call has closed the wire, or nobody is there. The main thread may wait for ever.
            os._exit(1)
