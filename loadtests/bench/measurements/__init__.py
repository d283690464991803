"""The measurements: one module a subject, and the table of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from loadtests.bench.figures import Row
from loadtests.bench.measurements import (
    batches,
    cluster,
    dashboard,
    finish,
    growth,
    guests,
    keys,
    latency,
    pools,
    posts,
    reads,
    scrape,
    surcharges,
    waiting,
)
from loadtests.bench.stand import Stand

Measurement = Callable[[Stand], Iterable[Row]]

MEASUREMENTS: Final[Mapping[str, Measurement]] = MappingProxyType(
    {
        "post": posts.measure,
        "crowd": posts.measure_crowd,
        "batches": batches.measure,
        "keyed": surcharges.measure_keys,
        "encrypted": surcharges.measure_encryption,
        "latency": latency.measure,
        "finish": finish.measure,
        "reads": reads.measure,
        "metrics": scrape.measure,
        "executors": pools.measure,
        "dask": cluster.measure,
        "waiting": waiting.measure,
        "guests": guests.measure,
        "keys": keys.measure,
        "growth": growth.measure,
        "dashboard": dashboard.measure,
    }
)
"""By the name that `make bench ONLY=...` selects them by, in the order of the report."""

OF_THIS_PROCESS: Final = frozenset({"dask", "executors"})
"""The measurements without a service, which cannot have another checkout beside them."""
