"""The rules of labels: short pairs that tasks and keys have."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

MAX_LABELS: Final = 8
MAX_LABEL_CHARACTERS: Final = 64
"""The bound of a key, and of a value."""
KEY_PATTERN: Final = r"^[A-Za-z0-9_.*/-]+$"
VALUE_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f]+$"


def stored(labels: Mapping[str, str] | None) -> str | None:
    """Labels as `Task.labels` has them: a JSON object, by key; None: there are none."""
    if not labels:
        return None
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def checked(labels: Any) -> Mapping[str, str]:
    """The labels, if a task can have them.

    Raises:
        ValueError: it names the first pair that is wrong.
    """
    if not isinstance(labels, Mapping):
        raise ValueError("labels are pairs of text")  # noqa: TRY004 - as any other mistake in them
    if len(labels) > MAX_LABELS:
        raise ValueError(f"a task has up to {MAX_LABELS} labels, not {len(labels)}")
    for key, value in labels.items():
        for part, pattern in ((key, KEY_PATTERN), (value, VALUE_PATTERN)):
            fits = isinstance(part, str) and len(part) <= MAX_LABEL_CHARACTERS
            if not (fits and re.fullmatch(pattern, part)):
                raise ValueError(f"{key!r}: {value!r} is no label")
    return labels


def pair_of(text: str) -> tuple[str, str]:
    """The key and the value in a text like `tenant=acme`.

    Raises:
        ValueError: it is no such pair, or breaks a rule.
    """
    key, _, value = text.partition("=")
    if not (key and value):
        raise ValueError(f"must be a pair like tenant=acme (got {text!r})")
    if max(len(key), len(value)) > MAX_LABEL_CHARACTERS:
        problem = f"may have {MAX_LABEL_CHARACTERS} characters in its key and in its value"
        raise ValueError(f"{problem} (got {text!r})")
    if re.fullmatch(KEY_PATTERN, key) is None:
        raise ValueError(f"may have letters, digits and any of _.*/- in its key (got {text!r})")
    if re.fullmatch(VALUE_PATTERN, value) is None:
        raise ValueError(f"may have no control characters in its value (got {text!r})")
    return key, value
