"""Errors of one kind: the same message but for ids, numbers and quoted parts."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final, NamedTuple

MOST_CHARACTERS: Final = 500
"""The bound of a masked message; the rest tells no kinds apart."""

# Each alternative begins where no other one of its kind has begun before, and ends at the first
# character that it does not take: linear time, whatever a task has raised.
_VARIABLE: Final = re.compile(
    r"""
      (?P<quoted>
        (?<!\w) (?: '[^']*' | "[^"]*" | `[^`]*` ) (?!\w)
      | “[^“”]*” | «[^«»]*» | ‘[^‘’]*’
      )
    | (?P<id>
        \b [0-9a-f]{8} (?: -[0-9a-f]{4} ){3} - [0-9a-f]{12} \b
      | \b 0x [0-9a-f]+ \b
      | \b (?= [a-f]* [0-9] ) (?= [0-9]* [a-f] ) [0-9a-f]{8,} \b
      )
    | [0-9]+ (?: [.,:] [0-9]+ )*
    """,
    re.VERBOSE | re.IGNORECASE,
)


class ErrorKind(NamedTuple):
    """The members that failed tasks of one group have in common."""

    id: bytes
    """8 bytes of a hash of the other two; with a secret, of a MAC (keyed BLAKE2, RFC 7693)."""
    type: str
    message: str
    """Masked."""


def masked(error: str) -> str:
    """An error without what differs from one task to the next, in one line."""
    text = " ".join(_VARIABLE.sub(_mask, error).split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def _mask(found: re.Match[str]) -> str:
    if found["quoted"] is not None:
        text = found["quoted"]
        return f"{text[0]}…{text[-1]}"
    return "<id>" if found["id"] is not None else "#"


@lru_cache(maxsize=256)
def kind_of(type_name: str, error: str, secret: bytes = b"") -> ErrorKind:
    """Which kind of error it is, of which type of task.

    Args:
        secret: with it, the id does not give the message away.
    """
    message = masked(error)
    return ErrorKind(kind_id(type_name, message, secret), type_name, message)


def kind_id(type_name: str, message: str, secret: bytes = b"") -> bytes:
    """The id of a kind with this masked message."""
    told = f"{type_name}\0{message}".encode()
    return hashlib.blake2b(told, digest_size=8, key=secret).digest()
