"""The latency of a submission on a quiet service, beside the bare route."""

from __future__ import annotations

import time
from collections.abc import Iterator

from loadtests.bench import synced
from loadtests.bench.figures import Figure, Row, percentile
from loadtests.bench.notification import SUBMIT
from loadtests.bench.stand import Stand, check_accepted, durable_text
from loadtests.servers import Server, running


def measure(stand: Stand) -> Iterator[Row]:
    """One connection, one request after the other; each task is executed meanwhile."""
    service, bare = stand.service(), stand.bare()
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    requests = stand.sizes.requests
    with running(service, bare):
        durability = synced.require(service, stand.sizes.synced)
        stand.warm_up(service, bare)
        first = before = service.counts()
        for _ in stand.rounds("latency"):
            ours.append(_milliseconds(service, requests))
            after = service.wait_finished(before.submitted + requests)
            check_accepted(requests, 0, before, after)
            theirs.append(_milliseconds(bare, requests))
            before = after
    for share in (0.5, 0.99):
        own = Figure.of(percentile(took, share) for took in ours)
        others = Figure.of(percentile(took, share) for took in theirs)
        yield Row(
            "latency",
            f"POST, 1 connection: p{share * 100:.0f}",
            "ms",
            own,
            others,
            "bare route",
            durable_text(durability, first, before),
            f"bare {own.median - others.median:+.2f} ms",
        )


def _milliseconds(server: Server, requests: int) -> list[float]:
    took: list[float] = []
    with server.connect() as connection:
        for _ in range(requests):
            started = time.perf_counter()
            connection.expect(202, SUBMIT)
            took.append((time.perf_counter() - started) * 1e3)
    return took
