"""Python's standard streams in a host: what is printed goes to the log, with the call it is of.

What is written past them, to the descriptors 1 and 2, is read at the other end of those.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterable
from typing import Final, TextIO, cast

from afterwards_executors.budget import Budget
from afterwards_executors.frames import Kind, frame
from afterwards_executors.inside.wire import Wire
from afterwards_executors.progress import CURRENT

MAX_LINE_CHARACTERS: Final = 4_000
_MAX_OPEN_LINES: Final = 1_000
"""Lines that have begun, by call; a call that is over may have left one."""


class LineStream(io.TextIOBase):
    """A text stream that sends whole lines over the wire. It cannot be closed.

    Args:
        kind: PRINTED or LOGGED.
        number: the descriptor it stands for.
    """

    def __init__(
        self, wire: Wire, budget: Budget, kind: Kind, number: int, *, terminal: bool
    ) -> None:
        self._wire = wire
        self._budget = budget
        self._kind = kind
        self._number = number
        self._is_terminal = terminal
        self._lock = threading.RLock()
        self._begun: dict[int, str] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override] # as `TextIOWrapper` has it
        """The encoding of `buffer`."""
        return "utf-8"

    @property
    def buffer(self) -> io.RawIOBase:
        """For those who write bytes: the descriptor, so that order to text is not kept."""
        return _Descriptor(self._number)

    def fileno(self) -> int:
        """The descriptor, for programs that a call starts."""
        return self._number

    def isatty(self) -> bool:
        """True if the log ends up on a terminal."""
        return self._is_terminal

    def writable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Stay open: it is not the call's."""

    def write(self, text: str) -> int:
        """Send the lines that are complete with `text`."""
        if not self._wire.is_open():
            os.write(self._number, text.encode(errors="replace"))
            return len(text)
        line = CURRENT.get(None)
        call = 0 if line is None else getattr(line, "number", 0)
        with self._lock:
            *lines, rest = (self._begun.pop(call, "") + text).split("\n")
            if len(rest) > MAX_LINE_CHARACTERS:
                lines, rest = [*lines, rest], ""
            if rest and len(self._begun) < _MAX_OPEN_LINES:
                self._begun[call] = rest
            self._send(call, lines)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override] # as `TextIOWrapper` has it
        """Write each."""
        for line in lines:
            self.write(line)

    def finish(self, call: int) -> None:
        """Send the line that a call, which is over, has begun."""
        if self._begun:
            with self._lock:
                rest = self._begun.pop(call, "")
                self._send(call, [rest] if rest else [])

    def _send(self, call: int, lines: list[str]) -> None:
        for text in lines:
            line = text[:MAX_LINE_CHARACTERS].encode(errors="replace")
            if self._kind is Kind.PRINTED:
                line = bytes([self._number]) + line
            if not self._budget.take(len(line)):
                continue
            frames = [frame(self._kind, call, line)]
            if (gap := self._budget.gap()) is not None:
                frames.insert(0, frame(Kind.PRINTED, call, bytes([self._number]) + gap.encode()))
            try:
                self._wire.send(*frames)
            except OSError:
                return  # nobody is there any more, to read them or anything else


class _Descriptor(io.RawIOBase):
    """Writes to a descriptor that stays open."""

    def __init__(self, number: int) -> None:
        self._number = number

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: bytes) -> int:  # type: ignore[override] # as `TextIOWrapper` has it
        return os.write(self._number, data)


_streams: Final[list[LineStream]] = []
_log: Final[list[LineStream]] = []


def replace(wire: Wire, *, is_terminal: bool) -> TextIO:
    """Have Python's streams go over the wire. Returns where lines for the log go."""
    budget = Budget()
    _streams[:] = [
        LineStream(wire, budget, Kind.PRINTED, number, terminal=False) for number in (1, 2)
    ]
    _log[:] = [LineStream(wire, budget, Kind.LOGGED, 2, terminal=is_terminal)]
    for name, stream in zip(("stdout", "stderr"), _streams, strict=True):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    return cast("TextIO", _log[0])


def finish(call: int) -> None:
    """Send what a call has begun to print, as it is over."""
    for stream in (*_streams, *_log):
        stream.finish(call)


def use_descriptors() -> None:
    """In a fork: what is printed goes to the descriptors."""
    for stream in (*_streams, *_log):
        stream._lock = threading.RLock()  # noqa: SLF001 - its holder may be a thread that is not here
