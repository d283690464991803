"""The mistakes that a model finds in what was sent, as plain data."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

MAX_MISTAKES: Final = 10_000
"""More are not told one by one: to put them into words would take the validator 1 us each."""


def mistakes_of(error: ValidationError) -> list[dict[str, Any]]:
    """Each with its `type`, its place (`loc`) and a message for people (`msg`)."""
    number = error.error_count()
    if number > MAX_MISTAKES:
        message = f"has {number} mistakes, which are too many to tell one by one"
        return [{"type": "mistakes", "loc": (), "msg": message}]
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [dict(one) for one in found]
