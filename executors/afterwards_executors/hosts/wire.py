"""An executor's end of the wire to one host, on the executor's event loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final

from afterwards_executors.frames import BrokenWire, Frame, Incoming

CLOSED: Final = "closed its connection"

_CHUNK_BYTES: Final = 64 * 1024
_READS_A_TURN: Final = 2
"""So many chunks are read from a host before others have their turn."""
_LAST_READS: Final = 512
"""So many are read of a host that has ended; one that writes more has nothing to say."""


class HostWire:
    """Frames out, those of one turn of the loop together; frames in.

    Args:
        max_frame_bytes: a longer one is none.
        hear: called with each frame; raises `BrokenWire`, or what taking bytes apart raises, for
            one that no host would send.
        closed: called once if nothing more will come, with the reason.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        max_frame_bytes: int,
        hear: Callable[[Frame], None],
        closed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._incoming = Incoming(max_frame_bytes)
        self._hear = hear
        self._closed = closed
        self._connection: socket.socket | None = None
        self._outgoing: list[bytes] = []
        self._unsent = b""
        self._is_flushing = False
        self._is_open = False

    def attach(self, connection: socket.socket) -> None:
        """Its process was started. Raises OSError, MemoryError: it cannot be watched."""
        self._loop.add_reader(connection.fileno(), self._read)
        self._connection = connection

    def open(self) -> None:
        """The host understands frames: from now on they are sent, those from before first."""
        self._is_open = True
        self._flush()

    def detach(self) -> None:
        """Watch it no longer; it may be closed then."""
        if self._connection is not None:
            self._loop.remove_reader(self._connection.fileno())
            self._loop.remove_writer(self._connection.fileno())
            self._connection = None

    def drain(self) -> None:
        """Hear what has come, of a host that sends nothing any more."""
        for _ in range(_LAST_READS):
            if not self._take():
                return

    def send(self, data: bytes) -> None:
        """Send a frame, with all others of this turn of the loop."""
        self._outgoing.append(data)
        if self._is_open and not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        if self._connection is None:
            return
        had_rest = bool(self._unsent)
        data = b"".join((self._unsent, *self._outgoing))
        self._outgoing.clear()
        try:
            sent = self._connection.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # it is dead, and that is about to be seen
        self._unsent = data[sent:]
        if self._unsent and not had_rest:
            self._loop.add_writer(self._connection.fileno(), self._flush)
        elif had_rest and not self._unsent:
            self._loop.remove_writer(self._connection.fileno())

    def _read(self) -> None:
        for _ in range(_READS_A_TURN):
            if not self._take():
                return

    def _take(self) -> bool:
        """Hear some of what is there; False: that was all."""
        if self._connection is None:
            return False
        try:
            part = self._connection.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        if not part:
            self._end(CLOSED)
            return False
        try:
            for one in self._incoming.feed(part):
                self._hear(one)
        except (BrokenWire, struct.error, IndexError, ValueError, OverflowError):
            # Something in it wrote into the wire; what comes next cannot be trusted either.
            self._end("gave an answer that cannot be read")
            return False
        return len(part) == _CHUNK_BYTES

    def _end(self, how: str) -> None:
        self.detach()
        self._closed(how)
