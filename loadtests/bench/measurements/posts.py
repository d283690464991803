"""Accepted and durable submissions per second, executed meanwhile, beside the bare route."""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.bench import synced
from loadtests.bench.figures import Figure, Row
from loadtests.bench.stand import Stand, check_accepted, durable_text
from loadtests.servers import running


def measure(stand: Stand) -> Iterator[Row]:
    """Over the usual number of connections."""
    yield from _measure(stand, "post", stand.sizes.connections)


def measure_crowd(stand: Stand) -> Iterator[Row]:
    """Over many."""
    yield from _measure(stand, "crowd", stand.sizes.crowd)


def _measure(stand: Stand, measurement: str, connections: int) -> Iterator[Row]:
    """In turn, so that a slow minute of the machine is one for both."""
    service, bare = stand.service(), stand.bare()
    accepted: list[float] = []
    finished: list[float] = []
    answered: list[float] = []
    with running(service, bare):
        durability = synced.require(service, stand.sizes.synced)
        stand.warm_up(service, bare)
        first = before = service.counts()
        for _ in stand.rounds(measurement):
            load = stand.post(service, connections=connections)
            after = service.wait_finished(before.submitted + load.answers)
            seconds = after.at - load.started
            tasks = check_accepted(load.answers, connections, before, after)
            accepted.append(load.per_second)
            finished.append(tasks / seconds)
            answered.append(stand.post(bare, connections=connections).per_second)
            before = after
    durable = durable_text(durability, first, before)
    name = f"POST, {connections} connections"
    yield Row(
        measurement,
        f"{name}: accepted, durable",
        "1/s",
        Figure.of(accepted),
        Figure.of(answered),
        "bare route",
        durable,
    )
    yield Row(
        measurement,
        f"{name}: finished, end to end",
        "1/s",
        Figure.of(finished),
        Figure.of(accepted),
        "accepted",
        durable,
    )
