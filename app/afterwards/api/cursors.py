"""Cursors of lists: the position where the next page begins, as text that means nothing else."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from afterwards.api.checks import invalid

P = TypeVar("P")

_NUMBER: Final = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)
_HIGHEST: Final = 2**63 - 1
"""As a journal has numbers."""


def cursor_of(position: str) -> str:
    """A position, as text, as a cursor."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def link_to_next(query: str) -> dict[str, str]:
    """The header that leads to the next page, which this query asks for."""
    return {"Link": f'<?{query}>; rel="next"'}


def position_of(cursor: str, parsed: Callable[[str], P]) -> P:
    """The inverse.

    Args:
        parsed: makes a position of its text. Raises `ValueError`: it is none.

    Raises:
        RequestValidationError: no list has given this cursor.
    """
    with suppress(ValueError):
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
        if cursor_of(text) == cursor:
            return parsed(text)
    raise invalid("cursor", ("query", "cursor"), "must be the `next` of an earlier page")


def number_of(text: str) -> int:
    """A position that is a number.

    Raises:
        ValueError: it is none that a list could have.
    """
    if _NUMBER.fullmatch(text) is None or int(text) > _HIGHEST:
        raise ValueError(text)
    return int(text)
