"""The counters at `/metrics`, and whether one has fallen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_ENDINGS: Final = ("_total", "_count", "_bucket", "_sum")
Counters = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def counters(text: str) -> Counters:
    """Every sample that only grows, by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.endswith(_ENDINGS)
    }


def fallen(before: Counters, after: Counters) -> dict[object, tuple[float, float | None]]:
    """The counters that have fallen, or are gone; with both values."""
    return {
        name: (value, after.get(name))
        for name, value in before.items()
        if after.get(name, -1.0) < value
    }
