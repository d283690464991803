"""Answers that wait for a task's end: `?wait=20`, or `Prefer: wait=20` (RFC 7240)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from fastapi import Request

from afterwards.api.checks import invalid

LONGEST_SECONDS: Final = 60
"""The bound of a wait; a longer one is cut: proxies and clients do not wait much longer."""

_NAME: Final = "wait"
_SECONDS: Final = re.compile(r"[0-9]+", re.ASCII)


class Wait(NamedTuple):
    """The time for which an answer may wait."""

    seconds: int
    """0: not at all."""
    preferred: bool = False
    """Asked for by the header; the answer says so."""

    def headers(self) -> dict[str, str]:
        """The headers that confirm the wait."""
        if not self.preferred:
            return {}
        return {"Preference-Applied": f"{_NAME}={self.seconds}"}


def wait_of(request: Request) -> Wait:
    """The time for which the client wants to wait; the query goes before the header.

    Raises:
        RequestValidationError: the query's `wait` is no number of seconds. A header that makes no
            sense is passed over, as its specification wants.
    """
    asked = request.query_params.getlist(_NAME)
    if asked:
        if len(asked) > 1 or _SECONDS.fullmatch(asked[0]) is None:
            raise invalid("wait", ("query", _NAME), "must be a number of seconds, such as 20")
        return Wait(_bounded(asked[0]))
    for line in request.headers.getlist("prefer"):
        for preference in line.split(","):
            value = _preferred(preference)
            if _SECONDS.fullmatch(value) is not None:
                return Wait(_bounded(value), preferred=True)
    return Wait(0)


def _preferred(preference: str) -> str:
    """The value of a preference (RFC 7240, 2) without its parameters; empty if it is another."""
    name, _, value = preference.partition(";")[0].partition("=")
    if name.strip().lower() != _NAME:
        return ""
    value = value.strip()
    is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return value[1:-1] if is_quoted else value


def _bounded(digits: str) -> int:
    # Python refuses to read a number of thousands of digits.
    return min(int(digits.lstrip("0")[:9] or "0"), LONGEST_SECONDS)
