"""The format of server-sent events: `text/event-stream`, as the HTML standard has it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Message:
    """One event as it came over the wire."""

    event: str
    """`message` where the server names none."""
    data: str
    id: str
    """Of this event, or of the last before it that had one."""


class EventStreamParser:
    """Turns bytes, split anywhere, into messages. One parser a connection.

    `last_event_id` and `retry_seconds` are the server's last word; the id of a message counts once
    the message is complete, so that one cut off is sent again.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_seconds: float | None = None
        self._rest = b""
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
        """The complete lines; what is left waits for the next chunk."""
        if not chunk:
            return []
        # A CR ends its line at once: were it kept until the next byte, the last event would be
        # held back. So the LF that may follow it is taken off here.
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        text = self._rest + chunk
        self._after_cr = text.endswith(b"\r") if chunk else False
        if self._at_start:
            if len(text) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(text):
                self._rest = text
                return []
            text = text.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
        *lines, self._rest = _LINE_END.split(text)
        return lines

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
