"""Series as columns: what a registry has kept of the past, with a value for each span of time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from afterwards.buckets import COUNTED, STEPS, STORED, Bucket, filled, quantile, quiet_of
from afterwards.registry.protocol.answers import SeriesRows

_QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def columns(range_name: str, type_name: str | None, found: SeriesRows) -> bytes:
    """The document of a range: columns of equal length, oldest first. Takes some milliseconds."""
    step = STEPS[range_name]
    times = range(found.last - step.seconds * (step.buckets - 1), found.last + 1, step.seconds)
    buckets: list[Bucket | None] = [None] * len(times)
    if found.is_kept:
        decoded = ((at, Bucket.decode(data)) for at, data in found.rows)
        known = {at: bucket for at, bucket in decoded if bucket is not None}
        buckets = filled(times, known, _running(times, found), found.stored)
    document: dict[str, Any] = {
        "range": range_name,
        "step_seconds": step.seconds,
        "type": type_name,
        "times": [*times],
    }
    for place, name in enumerate(COUNTED):
        document[name] = [bucket and bucket.counted[place] for bucket in buckets]
    for name, share in _QUANTILES.items():
        document[f"wait_{name}"] = [bucket and _rounded(bucket.wait, share) for bucket in buckets]
    for name, share in _QUANTILES.items():
        document[f"run_{name}"] = [bucket and _rounded(bucket.run, share) for bucket in buckets]
    document["tasks"] = {
        name: [bucket and bucket.stored[place] for bucket in buckets]
        for place, name in enumerate(STORED)
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _running(times: Sequence[int], found: SeriesRows) -> set[int]:
    """The times of buckets in which the service ran."""
    step = found.step_seconds
    running = {*range(found.runs_since, found.last, step), found.last}
    for at, data in found.totals:
        # A span may have begun long before what is asked for.
        running.update(range(max(times[0], at - quiet_of(data) * step), at + 1, step))
    return running


def _rounded(cells: Sequence[int], share: float) -> float | None:
    seconds = quantile(cells, share)
    # More digits than that are not known.
    return None if seconds is None else float(f"{seconds:.3g}")
