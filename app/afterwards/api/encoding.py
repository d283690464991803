"""Answers as bytes of JSON: payloads, results and labels are JSON already, and are put in as is."""

from __future__ import annotations

from typing import Any, Final

import orjson

encoded: Final = orjson.dumps
"""The bytes of an answer, compact and in UTF-8. Members may be of `raw`."""

REDACTED: Final[dict[str, Any]] = {"redacted": True}
"""The member that says that what may not be seen is null, or left out."""


def raw(stored: bytes | str | None) -> orjson.Fragment | None:
    """JSON that is not parsed to be written again: it may be large. None: null."""
    return None if stored is None else orjson.Fragment(stored)
