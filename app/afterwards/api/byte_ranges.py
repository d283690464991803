"""Which parts of a file a request asks for (RFC 9110, 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

MOST_RANGES: Final = 16
"""A request for more is answered with the whole: many small parts cost more than that."""

_UNIT: Final = "bytes="
_RANGE: Final = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")


class ByteRange(NamedTuple):
    """Bytes of a file, from `start` to before `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Bytes."""
        return self.end - self.start


def ranges_of(header: str | None, size: int) -> Sequence[ByteRange] | None:
    """The ranges that a header `Range` asks for, of a file of this size.

    Returns:
        None: the header is to be ignored, because there is none, it is not valid, or its ranges
        are many or overlap (14.2). Empty: the file has none of them.
    """
    if header is None or not header.lower().startswith(_UNIT):
        return None
    asked = header[len(_UNIT) :].split(",")
    if len(asked) > MOST_RANGES:
        return None
    try:
        found = [one for one in _satisfiable(asked, size) if one.length > 0]
    except ValueError:
        return None
    in_order = sorted(found)
    overlap = any(one.end > after.start for one, after in pairwise(in_order))
    return None if overlap else found


def _satisfiable(asked: Sequence[str], size: int) -> Iterator[ByteRange]:
    for text in asked:
        match = _RANGE.fullmatch(text.strip(" \t"))
        if match is None:
            raise ValueError("no range")
        first, last = match.groups()
        if first and last and int(last) < int(first):
            raise ValueError("its end is before its beginning")
        if first:
            yield ByteRange(int(first), size if not last else min(int(last) + 1, size))
        elif last:
            yield ByteRange(max(0, size - int(last)), size)
        else:
            raise ValueError("neither beginning nor end")
