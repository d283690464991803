"""The registry's end of a proxy's connection: exchanges are answered in the midst of their turn.

The manager's own loop sends what a method has returned, and `exchange` returns at the end of its
turn. The answer is whole before that, right after the commit; its receiver need not wait for counts
and events.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final

from afterwards.registry.protocol.answers import Reply

_LENGTH: Final = struct.Struct("!i")
"""The length that a `Connection` sends before a message that is smaller than 2 GiB, as all are
(`MAX_BATCH_BYTES`)."""
_AT_ONCE: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


def serve_line(serve_client: Callable[[Any], None], connection: Connection) -> None:
    """Have the manager's own loop serve a connection as a `Line`, until it ends."""
    line = Line(connection)
    try:
        serve_client(line)
    finally:
        line.release()


class Line:
    """A connection of the registry's, with as much of a `Connection` as the manager's loop uses."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self.close = connection.close
        # The very descriptor: it is the connection's to close.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=connection.fileno())
        self._rest: memoryview | None = None
        """The rest of an answer that was told and is not sent yet; None: it was not told."""

    def release(self) -> None:
        """Leave the descriptor to the connection."""
        self._socket.detach()

    def recv(self) -> tuple[Any, ...]:
        """The next call; an exchange will tell its answer here.

        Raises:
            EOFError: the other end has closed it.
        """
        self._rest = None
        ident, method, arguments, named = self._connection.recv()
        if method == "exchange":
            named = {**named, "tell": self._tell}
        return ident, method, arguments, named

    def send(self, message: object) -> None:
        """Send what a call has given, unless it has been told, and then what is left of that."""
        if self._rest is None:
            self._connection.send(message)
        elif self._rest:
            self._socket.sendall(self._rest)

    def _tell(self, reply: Reply) -> None:
        """Send as much as there is room for: a worker that reads nothing must not hold a turn."""
        sent = pickle.dumps(("#RETURN", reply), pickle.HIGHEST_PROTOCOL)
        self._rest = memoryview(_LENGTH.pack(len(sent)) + sent)
        try:
            self._rest = self._rest[self._socket.send(self._rest, _AT_ONCE) :]
        except OSError:
            # There is no room, or nobody: `send` waits, or finds out.
            return
