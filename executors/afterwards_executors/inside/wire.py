"""A host's end of the wire."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from afterwards_executors.base import End, Outcome, describe
from afterwards_executors.board import Pen
from afterwards_executors.frames import (
    SECONDS,
    VERSION,
    Frame,
    Incoming,
    Kind,
    encode_outcome,
    frame,
)

_CHUNK_BYTES: Final = 64 * 1024
_LOOK_SECONDS: Final = 0.05
"""The time for which a thread that waits for an answer keeps others from reading."""


class Wire:
    """Frames in, for one thread; frames out, from any.

    Sending waits until the other end has taken it. That other end always reads, unless it is
    stopped, and then there is nothing to work for.
    """

    def __init__(self, connection: socket.socket, board: Pen) -> None:
        # Whatever `socket.setdefaulttimeout` says, which is for everybody to set.
        connection.setblocking(True)
        # Whoever else held it would keep the other side from seeing this process' end.
        connection.set_inheritable(False)
        self._socket = connection
        self._fd = connection.fileno()
        self._board = board
        self._lock = threading.Lock()
        self._incoming = Incoming()
        self._frames: deque[Frame] = deque()
        self._outgoing: deque[bytes] = deque()
        """Frames for the next thread that sends."""
        self._unsent = b""
        self.max_frame_bytes = 0
        self.winds_up = False
        """True if this host is to be ended soon, as far as the frames were read."""
        self.is_read_between_calls = False
        """True if the wire is not read while a call runs, but for answers to its questions."""
        self._reading = threading.Lock()
        """Held by the thread that reads while a call runs."""

    def fileno(self) -> int:
        """For an event loop to watch."""
        return self._fd

    def is_open(self) -> bool:
        """True if this process may use it: a fork that a call has made may not."""
        return self._fd >= 0

    # -- in ------------------------------------------------------------------------------------

    def receive(self) -> Frame | None:
        """The next frame; None: there will be no more."""
        while not self._frames:
            part = self._socket.recv(_CHUNK_BYTES)
            if not part:
                return None
            self._frames.extend(self._incoming.feed(part))
        return self._frames.popleft()

    def receive_some(self) -> list[Frame] | None:
        """All frames that are here, at least one; None: there will be no more."""
        first = self.receive()
        return None if first is None else [first, *self._take()]

    def receive_all(self) -> list[Frame] | None:
        """The frames that are here, without waiting; None: there will be no more."""
        try:
            part = self._socket.recv(_CHUNK_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return self._take()
        if not part:
            return None
        self._frames.extend(self._incoming.feed(part))
        return self._take()

    def is_winding_up(self) -> bool:
        """True if this host is to be ended soon. From any thread."""
        if self.winds_up or not self.is_read_between_calls or self._fd < 0:
            return self.winds_up
        if not self._reading.acquire(blocking=False):
            return False  # another thread is about to see it
        # It stays there: whoever reads between calls has no use for it.
        try:
            part = self._socket.recv(_CHUNK_BYTES, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except OSError:
            part = b""
        finally:
            self._reading.release()
        frames = [*self._frames, *Incoming().feed(self._incoming.rest() + part)]
        self.winds_up = any(one.kind == Kind.WIND_UP for one in frames)
        return self.winds_up

    def read_until(
        self, is_over: Callable[[], bool], call: int, take: Callable[[bytes], None]
    ) -> None:
        """Read while a call runs, until so. From any thread of the call.

        Args:
            take: is given the answers to questions of this call. All else is kept for later.

        Raises:
            OSError: the other end is gone.
        """
        while not is_over():
            # Another thread may read the answer that is waited for.
            if self._reading.acquire(timeout=_LOOK_SECONDS):
                try:
                    if not is_over():
                        self._read_some(call, take)
                finally:
                    self._reading.release()

    def end_reading(self) -> None:
        """Wait until no thread of a call that is over reads any more."""
        with self._reading:
            pass

    def _read_some(self, call: int, take: Callable[[bytes], None]) -> None:
        """Take what comes soon, if anything does: a thread of a call that is over must not wait."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(_LOOK_SECONDS * 1_000):
            return
        part = self._socket.recv(_CHUNK_BYTES)
        if not part:
            raise BrokenPipeError("its worker is gone, and answers nothing")
        for one in self._incoming.feed(part):
            if one.kind != Kind.ANSWER:
                self._frames.append(one)
            elif one.call == call:
                take(one.body)

    def _take(self) -> list[Frame]:
        frames = list(self._frames)
        self._frames.clear()
        return frames

    # -- out -----------------------------------------------------------------------------------

    def send(self, *frames: bytes) -> None:
        """Send frames; if another thread sends just now, it sends these as well.

        Raises:
            OSError: the other end is gone.
        """
        self._outgoing.extend(frames)
        # Whoever has the wire sends what others have put there meanwhile: nobody waits in line.
        while self._outgoing and self._lock.acquire(blocking=False):
            try:
                self._send_all()
            finally:
                self._lock.release()

    def _send_all(self) -> None:
        while self._outgoing or self._unsent:
            while self._outgoing:
                self._unsent += self._outgoing.popleft()
            if self._fd < 0:
                self._unsent = b""
                return
            self._send_some(wait=True)

    def try_to_send(self, data: bytes) -> bool:
        """Send a small frame that may be dropped; False if there is no room for it just now."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._fd < 0:
                return True
            # What does not go as a whole is finished with what comes next.
            if not self._unsent and not self._outgoing:
                self._unsent = data
                if self._send_some(wait=False):
                    return True
                self._unsent = b""
        except OSError:
            return True  # nobody is there any more
        finally:
            self._lock.release()
        return False

    def _send_some(self, *, wait: bool) -> bool:
        # A signal handler of a call's may raise here: what is left is sent before anything else.
        try:
            sent = self._socket.send(self._unsent, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            # An event loop that watches the wire has it not blocking.
            if wait:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
            return False
        self._unsent = self._unsent[sent:]
        return True

    def ready(self) -> None:
        """Say that calls may come."""
        self.send(frame(Kind.READY, body=bytes([VERSION])))

    def begun(self, calls: int, kept_seconds: float = 0.0) -> None:
        """Say that so many calls begin now; it is said before one can end this process.

        Args:
            kept_seconds: how long their event loop has been kept from its work so far.
        """
        self._board.write(calls, kept_seconds)

    def delay(self, call: int, seconds: float | None) -> None:
        """Say how long to wait after a time-out of the call."""
        self.send(
            frame(Kind.DELAY, call, SECONDS.pack(float("nan") if seconds is None else seconds))
        )

    def ended(
        self,
        call: int,
        outcome: Outcome,
        cpu_seconds: float | None = None,
        peak_memory_bytes: int | None = None,
    ) -> bytes:
        """The frame that says how the call ended, and with what, whatever the outcome holds."""
        try:
            body = encode_outcome(outcome, cpu_seconds, peak_memory_bytes)
        except Exception as error:  # noqa: BLE001 - fields can hold anything, and behave as badly
            body = encode_outcome(refusal("The outcome cannot be sent", error, _seconds(outcome)))
        if len(body) > self.max_frame_bytes:
            message = f"The outcome has {len(body)} bytes; {self.max_frame_bytes} can be sent"
            body = encode_outcome(
                Outcome(End.FAILED, error=message, run_seconds=outcome.run_seconds)
            )
        return frame(Kind.ENDED, call, body)

    # -- forks ---------------------------------------------------------------------------------

    def leave_to_the_parent(self) -> None:
        """In a fork: the wire is its parent's, and its lock may be held by a thread that is not."""
        fd, self._fd = self._fd, -1
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._outgoing.clear()
        self._unsent = b""
        if fd >= 0:
            self._socket.detach()
            try:
                os.close(fd)
            except OSError:
                return  # the call has closed it before


WORN: Final = frame(Kind.WORN)
"""Says that this process had better take no more calls. It goes before an answer: the next call
would be here otherwise."""


def refusal(problem: str, error: BaseException, run_seconds: float) -> Outcome:
    """The outcome of a call that went wrong on its way."""
    message = f"{problem}: {type(error).__name__}: {describe(error)}"
    return Outcome(End.FAILED, error=message, run_seconds=run_seconds)


def _seconds(outcome: object) -> float:
    seconds = getattr(outcome, "run_seconds", 0.0)
    try:
        struct.pack("!d", seconds)
    except struct.error:
        return 0.0
    return float(seconds)
