"""The format of server-sent events: `text/event-stream`, as the HTML standard has it."""

from __future__ import annotations

from dataclasses import dataclass

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Message:
    """One event as it came over the wire."""

    event: str
    """`message` where the server names none."""
    data: str
    id: str
    """The id of this event, or of the last before it that had one."""


class EventStreamParser:
    """Turns bytes, split anywhere, into messages. One parser a connection.

    `last_event_id` and `retry_seconds` are the server's last word; the id of a message counts once
    the message is complete, so that one cut off is sent again.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_seconds: float | None = None
        self._rest = bytearray()
        self._at_start = True
        self._after_cr = False
        self._event = ""
        self._data: list[str] = []
        self._id = last_event_id

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that `chunk` completes."""
        messages = []
        for line in self._lines(chunk):
            if line:
                self._field(line.decode("utf-8", "replace"))
            elif (message := self._complete()) is not None:
                messages.append(message)
        return messages

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes; what is left waits for the next chunk."""
        if not chunk:
            return []
        # A CR ends its line at once: were it kept until the next byte, the last event would be
        # held back. So the LF that may follow it is taken off here.
        after_cr, self._after_cr = self._after_cr, chunk.endswith(b"\r")
        if after_cr:
            chunk = chunk.removeprefix(b"\n")
        end, *lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        # Only the chunk is searched, or a line in many chunks would be searched for each of them.
        self._rest += end
        if not lines:
            return []
        first = bytes(self._rest)
        if self._at_start:
            first = first.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
        self._rest = bytearray(lines.pop())
        return [first, *lines]

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            # Not of an int: that has a limit of digits.
            self.retry_seconds = float(value) / 1000

    def _complete(self) -> Message | None:
        self.last_event_id = self._id
        event, self._event = self._event or "message", ""
        data, self._data = self._data, []
        return Message(event, "\n".join(data), self._id) if data else None
