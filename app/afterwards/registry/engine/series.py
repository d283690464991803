"""Keeps the series: every so many seconds, what has been added to the counts meanwhile.

    counts, histograms --difference--> buckets of 10 s, 1 min, 1 h --a minute ends--> journal

The counts are kept anyway. Their difference is taken when a bucket of ten seconds ends, and only if
a group was committed in it; so series cost a task nothing, and a service that rests writes nothing.
A registry that is killed loses the minute that it was in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from afterwards.buckets import (
    COUNTED,
    STEPS,
    TOTAL,
    VECTOR_SIZE,
    Bucket,
    Step,
    difference,
    vectors_of,
)
from afterwards.counts import Tally
from afterwards.metrics import TaskMetrics
from afterwards.registry.journal.base import Journal
from afterwards.registry.journal.series_rows import Key, SeriesChanges
from afterwards.registry.protocol.answers import SeriesRows
from afterwards.registry.protocol.requests import Series

MAX_TYPES: Final = 200
"""Types with series of their own; the others are in the total only."""

MAX_ROWS: Final = 20_000
"""So many buckets wait for a journal that cannot be written. The oldest are given up."""


class _Resolution:
    """The buckets of one step that are not over."""

    def __init__(self, step: Step, now: float) -> None:
        self.step = step
        self.at = step.start_of(now)
        self.buckets: dict[str, Bucket] = {}
        self.runs_since = self.at + step.seconds
        """The first bucket that the service ran in since the last one that is stored. Of the very
        first it may have been down for a part, or a part of it may have been lost."""

    def load(self, rows: Mapping[str, bytes]) -> None:
        """Go on with what an earlier registry has kept of the present bucket."""
        for type_name, data in rows.items():
            bucket = Bucket.decode(data)
            if bucket is not None:
                self.buckets[type_name] = bucket
        if TOTAL in self.buckets:
            self.runs_since = self.at - self.buckets[TOTAL].quiet * self.step.seconds

    def add(self, type_name: str, change: Bucket) -> None:
        bucket = self.buckets.get(type_name)
        if bucket is None:
            bucket = self.buckets[type_name] = Bucket.empty()
        bucket.add(change)

    def encoded(self, *names: str) -> dict[Key, bytes]:
        """The present buckets of these types, and that of all."""
        if TOTAL in self.buckets:
            self.buckets[TOTAL].quiet = max(0, self.at - self.runs_since) // self.step.seconds
        return {
            Key(self.step.seconds, self.at, name): self.buckets[name].encode()
            for name in {*names, TOTAL}
            if name in self.buckets
        }

    def go_on(self, at: int) -> None:
        """The bucket that begins at `at` is the present one."""
        if at - self.at not in (0, self.step.seconds):
            # The process, or the machine, was stopped, or the clock was set.
            self.runs_since = at
        elif TOTAL in self.buckets:
            self.runs_since = at
        self.at = at
        self.buckets = {}


class SeriesBook:
    """Follows the counts. Belongs to the thread that has the turn.

    Args:
        counts: live; read when a bucket ends.
        metrics: live, too.
        journal: has what an earlier registry has kept.
        now: by the wall clock, as everywhere here.
        ran: when the registry before, of the same service, has begun and died; None: there was none
            that died. It may have been quiet for long, which it could not say any more.
    """

    def __init__(
        self,
        counts: Tally,
        metrics: TaskMetrics,
        journal: Journal,
        now: float,
        ran: tuple[float, float] | None = None,
    ) -> None:
        self._counts = counts
        self._metrics = metrics
        self._resolutions = [_Resolution(step, now) for step in STEPS.values()]
        self._finest, self._minute, self._hour = self._resolutions
        for resolution in self._resolutions:
            resolution.load(journal.series_at(resolution.step.seconds, resolution.at))
        self._last = self._all()
        """All counts of each type, as they were when differences were taken last."""
        busiest = sorted(self._last, key=lambda name: self._last[name][0], reverse=True)
        self._tracked = set(busiest[:MAX_TYPES])
        self._has_news = False
        self._closed: dict[Key, bytes] = {}
        """Buckets that are over, of the present minute."""
        self._ready: dict[Key, bytes] = {}
        """To be written."""
        if ran is not None:
            for resolution in self._resolutions:
                self._closed |= self._quiet_before(resolution.step, journal, *ran)

    # -- as groups are committed ---------------------------------------------------------------

    def committing(self, now: float) -> None:
        """A group is about to be added to the counts."""
        if not 0 <= now - self._finest.at < self._finest.step.seconds:
            self._begin(now)
        self._has_news = True

    def due(self, now: float) -> SeriesChanges | None:
        """The changes that had better be written; None: none."""
        if not 0 <= now - self._finest.at < self._finest.step.seconds:
            self._begin(now)
        if not self._ready:
            return None
        kept = {
            r.step.seconds: (r.at - r.step.seconds * (r.step.buckets - 1), r.at)
            for r in self._resolutions
        }
        return SeriesChanges(dict(self._ready), kept)

    def written(self, changes: SeriesChanges) -> None:
        """These are durable."""
        for key, data in changes.rows.items():
            if self._ready.get(key) is data:
                del self._ready[key]

    def finish(self) -> None:
        """The registry is about to end: what there is of the present buckets is due."""
        self._take()
        self._mark_running()
        for resolution in self._resolutions:
            self._closed |= resolution.encoded(*resolution.buckets)
        self._release()

    # -- reading -------------------------------------------------------------------------------

    def rows(self, request: Series) -> SeriesRows:
        """The buckets of a type, or of all, that are not in the journal yet."""
        self._take()
        name, step = request.type or TOTAL, STEPS[request.range]
        resolution = next(r for r in self._resolutions if r.step is step)
        waiting = {**self._ready, **self._closed, **resolution.encoded(name)}
        numbers = vectors_of(self._counts).get(name, [0] * VECTOR_SIZE) if name else self._sum()
        return SeriesRows(
            step.seconds,
            name,
            last=resolution.at,
            rows=_rows_of(waiting, step, name),
            totals=_rows_of(waiting, step, TOTAL),
            runs_since=resolution.runs_since,
            stored=numbers[len(COUNTED) :],
            is_kept=not name or name in self._tracked or len(self._tracked) < MAX_TYPES,
        )

    # -- how -----------------------------------------------------------------------------------

    def _quiet_before(
        self, step: Step, journal: Journal, began_at: float, died_at: float
    ) -> dict[Key, bytes]:
        """A bucket that tells of the time from the last one up to the minute that is lost."""
        last = step.start_of(self._minute.step.start_of(died_at)) - step.seconds
        first, bucket = step.start_of(began_at) + step.seconds, None
        kept = journal.latest_series(step.seconds)
        if kept is not None:
            first, bucket = max(first, kept[0] + step.seconds), Bucket.decode(kept[1])
        if last < first:
            return {}
        quiet = Bucket.empty(self._sum()[len(COUNTED) :] if bucket is None else bucket.stored)
        quiet.quiet = (last - first) // step.seconds
        return {Key(step.seconds, last, TOTAL): quiet.encode()}

    def _begin(self, now: float) -> None:
        """A bucket is over: another one is the present one from now on."""
        self._take()
        slept = now - self._finest.at >= 2 * self._finest.step.seconds or now < self._finest.at
        if slept:
            # Up to here it ran; that has to be in a bucket, or would be forgotten.
            self._mark_running()
        self._closed |= self._finest.encoded(*self._finest.buckets)
        if self._minute.step.start_of(now) != self._minute.at:
            if names := [*self._minute.buckets]:
                self._closed |= self._minute.encoded(*names) | self._hour.encoded(*names)
            self._release()
        for resolution in self._resolutions:
            at = resolution.step.start_of(now)
            if at != resolution.at:
                resolution.go_on(at)

    def _release(self) -> None:
        self._ready |= self._closed
        self._closed = {}
        for key in [*self._ready][: max(0, len(self._ready) - MAX_ROWS)]:
            del self._ready[key]

    def _mark_running(self) -> None:
        """Have buckets of all types, whether there is anything to tell or not."""
        nothing = Bucket.empty(self._sum()[len(COUNTED) :])
        for resolution in self._resolutions:
            if resolution.runs_since <= resolution.at:
                resolution.add(TOTAL, nothing)

    def _take(self) -> None:
        """Add to the present buckets what was added to the counts since the last time."""
        if not self._has_news:
            return
        self._has_news = False
        total: Bucket | None = None
        for name, numbers in self._all().items():
            last = self._last.get(name)
            if numbers == last:
                continue
            self._last[name] = numbers
            change = difference(numbers, last or [0] * len(numbers))
            if total is None:
                total = Bucket.empty()
            total.add(change)
            if self._is_tracked(name):
                for resolution in self._resolutions:
                    resolution.add(name, change)
        if total is not None:
            total.stored = self._sum()[len(COUNTED) :]
            for resolution in self._resolutions:
                resolution.add(TOTAL, total)

    def _is_tracked(self, name: str) -> bool:
        if name not in self._tracked and len(self._tracked) < MAX_TYPES:
            self._tracked.add(name)
        return name in self._tracked

    def _all(self) -> dict[str, list[int]]:
        """Everything so far, by type: counts, and after them the histograms."""
        vectors = vectors_of(self._counts)
        for name, vector in vectors.items():
            for cells in self._metrics.task_seconds(name):
                vector.extend(cells)
        return vectors

    def _sum(self) -> list[int]:
        vectors = vectors_of(self._counts).values()
        return [sum(numbers) for numbers in zip(*vectors, strict=True)] or [0] * VECTOR_SIZE


def _rows_of(rows: Mapping[Key, bytes], step: Step, name: str) -> list[tuple[int, bytes]]:
    return sorted(
        (key.at, data) for key, data in rows.items() if key[0] == step.seconds and key[2] == name
    )
