"""Status reads per second, beside the bare route's answers."""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.bench import synced
from loadtests.bench.figures import Figure, Row
from loadtests.bench.notification import SUBMIT
from loadtests.bench.stand import Stand
from loadtests.connection import submit
from loadtests.servers import running


def measure(stand: Stand) -> Iterator[Row]:
    """Measure reads of random tasks among those that were just finished."""
    service, bare = stand.service(), stand.bare()
    sizes = stand.sizes
    read: list[float] = []
    answered: list[float] = []
    with running(service, bare):
        durability = synced.require(service, sizes.synced)
        submitted = submit(service.address, SUBMIT, sizes.readable, sizes.connections)
        service.wait_finished(sizes.readable)
        ids_file = stand.new_directory("ids") / "ids"
        ids_file.write_text("\n".join(submitted.task_ids) + "\n")
        stand.warm_up(bare)
        for _ in stand.rounds("reads"):
            read.append(stand.read(service, ids_file).per_second)
            answered.append(stand.post(bare).per_second)
    yield Row(
        "reads",
        f"status reads, {sizes.connections} connections",
        "1/s",
        Figure.of(read),
        Figure.of(answered),
        "bare route (POST)",
        str(durability),
        f"of {sizes.readable:,} tasks",
    )
