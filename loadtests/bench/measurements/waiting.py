"""Many tasks at once that only wait: how long until all of them are finished."""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.bench import synced
from loadtests.bench.figures import Figure, Row
from loadtests.bench.notification import SUBMIT
from loadtests.bench.stand import Stand, check_accepted, durable_text
from loadtests.connection import submit


def measure(stand: Stand) -> Iterator[Row]:
    """The ideal is the time one of them takes, and that of accepting them."""
    sizes = stand.sizes
    service = stand.service(notification_delay_seconds=sizes.waiting_seconds)
    accepted: list[float] = []
    finished: list[float] = []
    with service:
        durability = synced.require(service, sizes.synced, follow=False)
        first = before = service.wait_finished(0)
        for _ in stand.rounds("waiting"):
            submitted = submit(service.address, SUBMIT, sizes.waiting, sizes.connections)
            after = service.wait_finished(before.submitted + sizes.waiting)
            check_accepted(sizes.waiting, 0, before, after)
            accepted.append(submitted.ended - submitted.started)
            finished.append(after.at - submitted.started)
            before = after
    name = f"{sizes.waiting:,} tasks of {sizes.waiting_seconds:g} s at once"
    durable = durable_text(durability, first, before)
    yield Row("waiting", f"{name}: all accepted", "s", Figure.of(accepted), durable=durable)
    ideal = Figure.of(sizes.waiting_seconds + seconds for seconds in accepted)
    yield Row(
        "waiting",
        f"{name}: all finished",
        "s",
        Figure.of(finished),
        ideal,
        f"{sizes.waiting_seconds:g} s + accepting",
        durable,
    )
