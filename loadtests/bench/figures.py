"""Figures: what was measured in each round, what it is beside, and the ratio of the two."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Figure:
    """One quantity, measured once in each round."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """At least one value is needed."""
        figure = cls(tuple(values))
        if not figure.values:
            raise ValueError("a figure needs a value")
        return figure

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least round's."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest round's."""
        return max(self.values)


@dataclass(frozen=True)
class Row:
    """A line of the report."""

    measurement: str
    """Its key in `MEASUREMENTS`."""
    name: str
    unit: str
    ours: Figure
    beside: Figure | None = None
    """The same rounds of what it is compared with."""
    beside_name: str = ""
    durable: str = ""
    """The result of the trace of syncs; empty where nothing is stored."""
    note: str = ""

    @property
    def ratio(self) -> Figure | None:
        """Ours divided by what it is beside, round by round."""
        if self.beside is None:
            return None
        pairs = zip(self.ours.values, self.beside.values, strict=True)
        return Figure.of(ours / beside for ours, beside in pairs)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` of all values, 0 to 1, do not exceed (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values, no percentile")
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
