"""The time that `/metrics` takes while many tasks are in the registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from loadtests.bench import stock, synced
from loadtests.bench.figures import Figure, Row, percentile
from loadtests.bench.stand import Stand
from loadtests.connection import get
from loadtests.errors import LoadTestError
from loadtests.servers import Service

_LONG_SECONDS: Final = 3_600
_GRACE_SECONDS: Final = 0.1


def measure(stand: Stand) -> Iterator[Row]:
    """With unfinished tasks, all of which the registry holds in memory; as many run as can."""
    # The tasks outlast the run. The journal begins with them: accepting them takes longer.
    service = stand.service(
        notification_delay_seconds=_LONG_SECONDS,
        grace_seconds=_GRACE_SECONDS,
        # Room for those that are traced.
        max_pending=stand.sizes.registered + stand.sizes.synced,
    )
    stock.fill_by(stand.program, service.data_dir, stand.sizes.registered, finished=False)
    with service:
        durability = synced.require(service, stand.sizes.synced, follow=False)
        rounds = [_milliseconds(service, stand.sizes.scrapes) for _ in stand.rounds("metrics")]
        counts = service.counts()
    if counts.unfinished < stand.sizes.registered:
        raise LoadTestError(f"only {counts.unfinished} tasks were in the registry")
    for share in (0.5, 0.99):
        yield Row(
            "metrics",
            f"/metrics, {stand.sizes.registered:,} unfinished tasks: p{share * 100:.0f}",
            "ms",
            Figure.of(percentile(took, share) for took in rounds),
            durable=str(durability),
        )


def _milliseconds(service: Service, scrapes: int) -> list[float]:
    took: list[float] = []
    with service.connect() as connection:
        for _ in range(scrapes):
            started = time.perf_counter()
            connection.expect(200, get("/metrics"))
            took.append((time.perf_counter() - started) * 1e3)
    return took
