"""Cursors of lists: the position where the next page begins, as text that means nothing else."""

from __future__ import annotations

import base64
from contextlib import suppress

from afterwards.api.checks import invalid


def cursor_of(position: int) -> str:
    """A position as a cursor."""
    return base64.urlsafe_b64encode(b"%d" % position).decode().rstrip("=")


def position_of(cursor: str) -> int:
    """The inverse.

    Raises:
        RequestValidationError: no list has given this cursor.
    """
    with suppress(ValueError):
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        position = int(text[:20])
        if cursor_of(position) == cursor:
            return position
    raise invalid("cursor", ("query", "cursor"), "must be the `next` of an earlier page")
