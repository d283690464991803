"""What runs in a child of the `process` executor: one call after the other, until the pipe ends."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Final

from afterwards_executors.base import End, Outcome, describe
from afterwards_executors.calls import failure_of, outcome_of
from afterwards_executors.notes import CURRENT, Notepad
from afterwards_executors.wire import LENGTH, NOTE, READY, decode_request, encode_outcome, frame

_PR_SET_PDEATHSIG: Final = 1
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_FOR_THE_PARENT: Final = (signal.SIGUSR1, signal.SIGUSR2)
"""Their default meaning would end the child."""


def serve(pipe: socket.socket, parent: int) -> None:
    """Run what comes through `pipe`; returns when its other end is closed."""
    _die_with(parent)
    # Kills reach what the calls start as well.
    os.setpgid(0, 0)
    _leave_stops_to_the_parent()
    # The main module, which was imported before, may have set a default that says otherwise.
    pipe.setblocking(True)
    # Spawning made it inheritable. Whoever else held it would keep the parent from seeing its end.
    pipe.set_inheritable(False)
    pid = os.getpid()
    try:
        pipe.sendall(frame(READY))
        while (request := _receive(pipe)) is not None:
            line = _Line(pipe)
            answer = _answer(request, line)
            if os.getpid() != pid:
                os._exit(0)  # a fork that the call has left behind: its answer would be the next's
            # What the call has left running must not cut into the answer, or into the next call.
            line.close()
            pipe.sendall(frame(answer))
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent has closed its end, or is gone


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that spawned it ends (prctl(2)).

    A slot's thread lives as long as its child, so that is when the whole parent dies; it works even
    while a call keeps this process from seeing the end of its pipe.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)  # it died before the call above


def _leave_stops_to_the_parent() -> None:
    """Let signals pass by that ask for a stop, or ask something of the parent alone.

    They are often sent to every process of a service at once, and the parent then decides how long
    its calls may go on; it ends this process by closing the pipe, or with SIGKILL.
    """
    for number in (*_STOP_SIGNALS, *_FOR_THE_PARENT):
        # Not SIG_IGN: programs that a call executes would inherit that, and could not be stopped.
        signal.signal(number, lambda *_: None)
    # What a call forks can be stopped. Until it is ready for a stop, the stop waits.
    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, _STOP_SIGNALS),
        after_in_parent=_unblock_stops,
        after_in_child=_take_stops,
    )


def _take_stops() -> None:
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    _unblock_stops()


def _unblock_stops() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


def _receive(pipe: socket.socket) -> bytes | None:
    head = _receive_exactly(pipe, LENGTH.size)
    return None if head is None else _receive_exactly(pipe, LENGTH.unpack(head)[0])


def _receive_exactly(pipe: socket.socket, size: int) -> bytes | None:
    body = pipe.recv(size, socket.MSG_WAITALL)
    if len(body) == size:
        return body
    parts = [body]  # a signal, or more than the kernel gives at once
    missing = size - len(body)
    while missing:
        part = pipe.recv(missing)
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class _Line:
    """The `notes.Line` of one call: its notes go through the pipe, before the answer."""

    is_stop_asked = False
    """Calls in children are stopped without being asked."""

    def __init__(self, pipe: socket.socket) -> None:
        self._pipe = pipe
        self._pid = os.getpid()
        self._notepad = Notepad(self._send)

    def note(self, data: bytes) -> None:
        # A fork shares the pipe, but no lock that would keep its words apart from ours.
        if os.getpid() == self._pid:
            self._notepad.note(data)

    def close(self) -> None:
        self._notepad.close()

    def _send(self, data: bytes) -> bool:
        outgoing = frame(NOTE + data)
        try:
            sent = self._pipe.send(outgoing, socket.MSG_DONTWAIT)
            # The kernel takes so little whole or not at all; if it should not, it has to be
            # finished, or nothing after it could be read.
            self._pipe.sendall(outgoing[sent:])
        except BlockingIOError:
            return False
        except OSError:
            return True  # the parent is gone, or the call has closed the pipe
        return True


def _answer(request: bytes, line: _Line) -> bytes:
    outcome = _run(request, line)
    try:
        return encode_outcome(outcome)
    except Exception as error:  # noqa: BLE001 - fields can hold anything, and behave as badly
        return encode_outcome(_refuse("The outcome cannot be sent", error, outcome.run_seconds))


def _run(request: bytes, line: _Line) -> Outcome:
    started = monotonic()
    try:
        function, args = decode_request(request)
    except BaseException as error:  # noqa: BLE001 - imports and unpickling run foreign code
        return _refuse("The call cannot be loaded in the child process", error, 0.0)
    started = monotonic()
    try:
        # A context of its own: what a call binds must not be seen by the next one.
        context = Context()
        context.run(CURRENT.set, line)
        return outcome_of(context.run(function, *args), monotonic() - started)
    except BaseException as error:  # noqa: BLE001 - SystemExit would cost the child
        return failure_of(error, monotonic() - started)


def _refuse(problem: str, error: BaseException, run_seconds: float) -> Outcome:
    message = f"{problem}: {type(error).__name__}: {describe(error)}"
    return Outcome(End.FAILED, error=message, run_seconds=run_seconds)
