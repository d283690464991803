"""Which tasks a list or a count is about."""

from __future__ import annotations

import json


def pairs_of(labels: str | None) -> list[str]:
    """What a task with these labels is found by: each key, and each key with its value."""
    if labels is None:
        return []
    found: dict[str, str] = json.loads(labels)
    return [text for key, value in found.items() for text in (key, f"{key}={value}")]
