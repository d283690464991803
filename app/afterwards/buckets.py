"""Buckets of series: the events of a span of time, as numbers that add up.

A bucket has the counts of its span, how many tasks were stored at its end, by how much that has
changed in it, and the histograms of the waits and the runs that ended in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from afterwards.counts import (
    RETRIED,
    RETRYING,
    SUBMITTED,
    TASK_SECONDS,
    TASKS,
    TRANSITIONS,
    Cell,
)
from afterwards.lifecycle import TaskState

COUNTED: Final = ("submitted", "succeeded", "failed", "cancelled", "retried")
"""The events that are counted in a span."""

STORED: Final = (
    "scheduled", "pending", "retrying", "processing", "success", "failed", "cancelled",
)  # fmt: skip
"""The counts of stored tasks at the end of a span; `retrying` tasks are waiting ones, too."""


class Step(NamedTuple):
    """One resolution of the series."""

    seconds: int
    buckets: int
    """So many are kept."""

    def start_of(self, moment: float) -> int:
        """The time at which the bucket of this moment begins."""
        return int(moment // self.seconds) * self.seconds


STEPS: Final = {"1h": Step(10, 360), "24h": Step(60, 1_440), "30d": Step(3_600, 720)}
"""By the range that they are kept for, the finest first."""

TOTAL: Final = ""
"""Stands for all types."""

_CELLS: Final = len(TASK_SECONDS) + 1
_FORMAT: Final = 1
"""Begins every stored bucket. Another one, or other bounds of `TASK_SECONDS`, have another."""


@dataclass(slots=True)
class Bucket:
    """One span of one type, or of all."""

    counted: list[int]
    """As `COUNTED`."""
    stored: list[int]
    """As `STORED`, at its end."""
    grown: list[int]
    """As `STORED`: by how much each has changed in it."""
    wait: list[int]
    """The number of waits that ended in it, by the bounds of `TASK_SECONDS`, and one above."""
    run: list[int]
    quiet: int = 0
    """The number of buckets right before it, in which the service ran, that have nothing to tell
    and are not stored; of the series of all types."""

    @classmethod
    def empty(cls, stored: Sequence[int] = (0,) * len(STORED)) -> Bucket:
        """The bucket of a span in which nothing has happened."""
        return cls([0] * len(COUNTED), [*stored], [0] * len(STORED), [0] * _CELLS, [0] * _CELLS)

    def add(self, later: Bucket) -> None:
        """Take in what happened after it."""
        for own, more in (
            (self.counted, later.counted),
            (self.grown, later.grown),
            (self.wait, later.wait),
            (self.run, later.run),
        ):
            own[:] = map(int.__add__, own, more)
        self.stored[:] = later.stored

    def stored_before(self) -> list[int]:
        """As `stored`, at its beginning."""
        return [max(0, now - more) for now, more in zip(self.stored, self.grown, strict=True)]

    def encode(self) -> bytes:
        """As the journal has it: variable-length numbers, those at the end left out if 0."""
        signed = (2 * number if number >= 0 else -2 * number - 1 for number in self.grown)
        numbers = [self.quiet, *self.counted, *self.stored, *signed, *self.wait, *self.run]
        while numbers and not numbers[-1]:
            numbers.pop()
        data = bytearray([_FORMAT])
        for number in numbers:
            rest = number
            while rest > 0x7F:
                data.append(rest & 0x7F | 0x80)
                rest >>= 7
            data.append(rest)
        return bytes(data)

    @classmethod
    def decode(cls, data: bytes) -> Bucket | None:
        """The inverse of `encode`; None: it is of another version, or broken."""
        if not data or data[0] != _FORMAT:
            return None
        size = 1 + len(COUNTED) + 2 * len(STORED) + 2 * _CELLS
        numbers = [*_numbers(data[1:])]
        if len(numbers) > size:
            return None
        numbers += [0] * (size - len(numbers))
        parts = [*accumulate((1, len(COUNTED), len(STORED), len(STORED), _CELLS, _CELLS))]
        counted, stored, grown, wait, run = (numbers[first:last] for first, last in pairwise(parts))
        unsigned = [number >> 1 if number % 2 == 0 else -(number + 1 >> 1) for number in grown]
        return cls(counted, stored, unsigned, wait, run, numbers[0])


_CELLS_OF: Final = (
    (SUBMITTED, ""),
    (TRANSITIONS, TaskState.SUCCESS),
    (TRANSITIONS, TaskState.FAILED),
    (TRANSITIONS, TaskState.CANCELLED),
    (RETRIED, ""),
    *((RETRYING, "") if name == "retrying" else (TASKS, TaskState(name)) for name in STORED),
)
_PLACES: Final = {cell: place for place, cell in enumerate(_CELLS_OF)}
VECTOR_SIZE: Final = len(_CELLS_OF)


def vectors_of(counts: Mapping[Cell, int]) -> dict[str, list[int]]:
    """All counts so far by type: those of `COUNTED`, and after them those of `STORED`."""
    vectors: dict[str, list[int]] = {}
    for (counter, type_name, label), number in counts.items():
        place = _PLACES.get((counter, label))
        if place is not None:
            vectors.setdefault(type_name, [0] * VECTOR_SIZE)[place] = number
    return vectors


def difference(now: Sequence[int], before: Sequence[int]) -> Bucket:
    """The bucket of the time between two vectors, each with two histograms after its counts."""
    more = [a - b for a, b in zip(now, before, strict=True)]
    counted = len(COUNTED)
    cells = (len(now) - VECTOR_SIZE) // 2
    return Bucket(
        # None of these falls.
        [max(0, number) for number in more[:counted]],
        [*now[counted:VECTOR_SIZE]],
        more[counted:VECTOR_SIZE],
        more[VECTOR_SIZE : VECTOR_SIZE + cells],
        more[VECTOR_SIZE + cells :],
    )


def quiet_of(data: bytes) -> int:
    """`Bucket.quiet` of a stored bucket, without reading the rest."""
    return next(_numbers(data[1:]), 0) if data and data[0] == _FORMAT else 0


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
        else:
            yield number
            number = shift = 0


def quantile(cells: Sequence[int], share: float) -> float | None:
    """The value, in seconds, that this share of what is counted in `cells` does not exceed.

    It is interpolated within its cell, evenly on a logarithmic scale (in the lowest one on a linear
    scale). So it is wrong by the ratio of the cell's bounds at most: by a factor of 2.5 up to 10 s,
    of 3 up to 30 s, of 2 up to a minute, of 5 up to five minutes, of 6 up to half an hour. More is
    given as half an hour. None: nothing is counted.
    """
    rank = share * sum(cells)
    if not rank:
        return None
    below = 0
    for place, number in enumerate(cells[:-1]):
        if number and below + number >= rank:
            part = (rank - below) / number
            high = float(TASK_SECONDS[place])
            low = float(TASK_SECONDS[place - 1]) if place else 0.0
            return low * (high / low) ** part if low else high * part
        below += number
    return float(TASK_SECONDS[-1])


def filled(
    times: Iterable[int],
    found: dict[int, Bucket],
    running: set[int],
    stored_now: Sequence[int],
) -> list[Bucket | None]:
    """A bucket for each of `times`, which are in order.

    Args:
        found: what there is to tell, by time.
        running: the times of buckets in which the service ran.
        stored_now: as `Bucket.stored`, after the last of them.

    Returns:
        None: the service was down.
    """
    stored = [*stored_now]
    backwards: list[Bucket | None] = []
    for at in reversed([*times]):
        bucket = found.get(at)
        if bucket is not None:
            stored = bucket.stored_before()
        elif at in running:
            bucket = Bucket.empty(stored)
        backwards.append(bucket)
    return backwards[::-1]
