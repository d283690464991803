"""A request of the service and its answer, as plain data: nothing here loads an HTTP library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from afterwards.outgoing.reach import Refused

__all__ = ["MAX_REDIRECTS", "Answer", "Call", "Headers", "NotInTime", "Refused", "Unanswered"]

Headers = Sequence[tuple[str, str]]

MAX_REDIRECTS: Final = 5


class Unanswered(Exception):
    """No whole answer came. The text says why, and may be shown to a client."""


class NotInTime(Unanswered):
    """No whole answer came within the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request to send."""

    method: str
    url: str
    headers: Headers = ()
    secret_headers: Headers = field(default=(), repr=False)
    """Headers that are sent to the host of `url` only, and not after a redirect."""
    body: bytes = b""
    timeout_seconds: float
    """The time for everything, redirects included."""
    redirects: int = 0
    """The number of redirects to follow, at most `MAX_REDIRECTS`."""
    keep_bytes: int = 64 * 1024
    """The size of the answer that is read; the connection of a longer one is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The final answer."""

    status: int
    headers: Headers
    """Their names are in lower case."""
    body: bytes
    is_whole: bool
    """False: the answer is longer than what was to be kept."""
    url: str
    """The URL that gave it, after all redirects."""

    def header(self, name: str) -> str | None:
        """The first value of a header, whose name is in lower case."""
        return next((value for key, value in self.headers if key == name), None)
