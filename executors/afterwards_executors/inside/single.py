"""Calls one after the other, in the main thread: the host of a `process` slot."""

from __future__ import annotations

import os
import resource
import time
from time import monotonic
from typing import Final

from afterwards_executors.frames import Kind, Setup
from afterwards_executors.inside import plain, streams
from afterwards_executors.inside.line import HostLine
from afterwards_executors.inside.surroundings import ProcessState
from afterwards_executors.inside.wire import WORN, Wire

_PEAK: Final = b"\nVmHWM:"
_FORGET_PEAK: Final = b"5"
"""Written to clear_refs, the peak of the memory begins anew (proc(5))."""
_AT_ONCE_SECONDS: Final = 0.002
"""A call that is over in this time has no peak of its own: reading it would take as long."""


def serve(wire: Wire, setup: Setup) -> None:
    """Run what comes; returns when nothing more will."""
    del setup
    pid = os.getpid()
    state, usage = ProcessState(), _Usage()
    wire.is_read_between_calls = True
    wire.ready()
    while (request := wire.receive()) is not None and request.kind != Kind.LEAVE:
        if request.kind != Kind.RUN:
            continue
        line = HostLine(wire, request.call)
        wire.begun(1)
        usage.begin()
        outcome = plain.run(request, line)
        if os.getpid() != pid:
            os._exit(0)  # a fork that the call has left behind: its answer would be the next's
        line.close()
        streams.finish(request.call)
        worn = [WORN] if state.is_short_of_descriptors() else []
        wire.send(*worn, wire.ended(request.call, outcome, *usage.end()))
        state.restore()


class _Usage:
    """The processor time and the memory of a call."""

    def __init__(self) -> None:
        self._started = self._cpu = 0.0
        self._peak = _new_peak()

    def begin(self) -> None:
        """A call begins."""
        self._started, self._cpu = monotonic(), _cpu_seconds()

    def end(self) -> tuple[float, int | None]:
        """The call is over: its processor time, and the peak of the memory."""
        cpu = _cpu_seconds() - self._cpu
        peak = self._peak
        if monotonic() - self._started > _AT_ONCE_SECONDS:
            peak = _peak_bytes()
            self._peak = _new_peak()
        return cpu, peak


def _cpu_seconds() -> float:
    """The processor time of this process and the children that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _new_peak() -> int | None:
    """Have the peak of the memory begin anew, and say how much there is now."""
    try:
        fd = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, _FORGET_PEAK)
        finally:
            os.close(fd)
    except OSError:
        return None
    return _peak_bytes()


def _peak_bytes() -> int | None:
    """The highest that the resident memory has been."""
    try:
        fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, 8192)
        finally:
            os.close(fd)
    except OSError:
        return None
    at = text.find(_PEAK)
    return int(text[at + len(_PEAK) :].split(None, 1)[0]) * 1024 if at >= 0 else None
