"""The rules of labels: short pairs that tasks and keys have."""

from __future__ import annotations

import re
from typing import Final

MAX_LABELS: Final = 8
MAX_LABEL_CHARACTERS: Final = 64
"""The bound of a key, and of a value."""
KEY_PATTERN: Final = r"^[A-Za-z0-9_.*/-]+$"
VALUE_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f]+$"


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
