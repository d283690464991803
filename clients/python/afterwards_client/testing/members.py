"""The members of bodies, and the rules of the service for each."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from afterwards_client.testing.problems import Mistake, Path

Problem = str | tuple[Path, str]
"""A mistake in words; with its place in the value, if it is in a part of that."""

Check = Callable[[Any], Problem | None]
"""The mistake in a value; None: there is none."""

NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

_LABEL_KEY: Final = re.compile(r"[A-Za-z0-9_.*/-]{1,64}")
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
_OFFSET: Final = re.compile(r"(Z|z|[+-][0-9]{2}:[0-9]{2})$")
_MOST_LABELS: Final = 8
_MOST_LABEL_CHARACTERS: Final = 64
_MOST_KEY_CHARACTERS: Final = 255
_MOST_DELAY_SECONDS: Final = 10 * 365 * 86_400
_MOST_TIMEOUT_SECONDS: Final = 7 * 86_400
_MOST_PERIOD_SECONDS: Final = 366 * 86_400


def text(value: Any) -> str | None:
    """Any text."""
    return None if isinstance(value, str) else "Input should be a valid string"


def flag(value: Any) -> str | None:
    """True or false."""
    return None if isinstance(value, bool) else "Input should be a valid boolean"


def json_object(value: Any) -> str | None:
    """A JSON object with finite numbers."""
    if not isinstance(value, dict):
        return "Input should be a valid dictionary"
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return "must have finite numbers only"
    return None


def one_of(*allowed: str) -> Check:
    """One of these words."""

    def check(value: Any) -> str | None:
        words = " or ".join(map(repr, allowed))
        return None if value in allowed else f"Input should be {words}"

    return check


def list_of(check: Check, most: int, least: int = 1) -> Check:
    """A list of values that the check takes."""

    def check_all(value: Any) -> Problem | None:
        if not isinstance(value, list):
            return "Input should be a valid list"
        if not least <= len(value) <= most:
            return f"List should have {least} to {most} items"
        for index, one in enumerate(value):
            problem = check(one)
            if problem is not None:
                return within(problem, index)
        return None

    return check_all


def number(least: float, most: float, *, whole: bool = False, above: bool = False) -> Check:
    """A number between these bounds; `above`: greater than the lower one."""

    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"Input should be a valid {'integer' if whole else 'number'}"
        if whole and not float(value).is_integer():
            return "Input should be a valid integer"
        if not math.isfinite(value) or value > most:
            return f"Input should be less than or equal to {most}"
        if value < least or (above and value == least):
            return f"Input should be greater than {'' if above else 'or equal to '}{least}"
        return None

    return check


def time(value: Any) -> str | None:
    """A time with an offset (RFC 3339)."""
    if not isinstance(value, str) or not _OFFSET.search(value):
        return "must be a time with an offset (RFC 3339)"
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return "must be a time with an offset (RFC 3339)"
    return None


def labels(value: Any) -> Problem | None:
    """Up to eight pairs of short texts."""
    if not isinstance(value, dict):
        return "Input should be a valid dictionary"
    if len(value) > _MOST_LABELS:
        return f"Dictionary should have at most {_MOST_LABELS} items"
    for name, label in value.items():
        if _LABEL_KEY.fullmatch(name) is None:
            return (name, "[key]"), "this is no label's key"
        fits = isinstance(label, str) and 0 < len(label) <= _MOST_LABEL_CHARACTERS
        if not fits or _TEXT.fullmatch(label) is None:
            return (name,), "this is no label's value"
    return None


def key(value: Any) -> str | None:
    """A concurrency key, or a unique key."""
    if not isinstance(value, str):
        return "Input should be a valid string"
    if len(value) > _MOST_KEY_CHARACTERS or not _TEXT.fullmatch(value):
        return f"must be 1 to {_MOST_KEY_CHARACTERS} characters without control characters"
    return None


PRIORITY: Final = number(0, 9, whole=True)
MAX_ATTEMPTS: Final = number(1, 100, whole=True)
TIMEOUT: Final = number(0, _MOST_TIMEOUT_SECONDS, above=True)
DELAY: Final = number(0, _MOST_DELAY_SECONDS)
PERIOD: Final = number(1, _MOST_PERIOD_SECONDS)


def within(problem: Problem, place: str | int) -> tuple[Path, str]:
    """A mistake in a part of a value, as one in that value."""
    path, words = ((), problem) if isinstance(problem, str) else problem
    return (place, *path), words


def mistakes_in(
    body: Any, checks: Mapping[str, Check], required: tuple[str, ...] = (), path: Path = ()
) -> list[Mistake]:
    """The mistakes in a body with these members; one that is null counts as left out."""
    if not isinstance(body, dict):
        return [Mistake(path, "A JSON object is required")]
    found = [Mistake((*path, name), "Field required") for name in required if name not in body]
    for name, value in body.items():
        if name not in checks:
            found.append(Mistake((*path, name), "Extra inputs are not permitted"))
        elif value is not None or name in required:
            problem = checks[name](value)
            if problem is not None:
                place, words = within(problem, name)
                found.append(Mistake((*path, *place), words))
    return found
