"""Batches of tasks per second, each accepted whole, beside as many single submissions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from loadtests.bench import synced
from loadtests.bench.figures import Figure, Row
from loadtests.bench.notification import PAYLOAD, SUBMIT
from loadtests.bench.stand import Stand, check_accepted, durable_text
from loadtests.connection import post, submit
from loadtests.servers import Service

BATCH_TASKS: Final = 100
CONNECTIONS: Final = 4

_TASK: Final = {"type": "notification", "payload": PAYLOAD}
_BATCH: Final = post("/tasks/batch", {"tasks": [_TASK] * BATCH_TASKS})


def measure(stand: Stand) -> Iterator[Row]:
    """The same number of tasks in both ways, in turn, until all are finished."""
    together: list[float] = []
    singly: list[float] = []
    with stand.service() as service:
        durability = synced.require(service, stand.sizes.synced)
        first = service.counts()
        for _ in stand.rounds("batches"):
            together.append(_finish(service, _BATCH, stand.sizes.batches, BATCH_TASKS))
            singly.append(_finish(service, SUBMIT, stand.sizes.batches * BATCH_TASKS, 1))
        last = service.counts()
    yield Row(
        "batches",
        f"batches of {BATCH_TASKS}, {CONNECTIONS} connections: tasks finished",
        "1/s",
        Figure.of(together),
        Figure.of(singly),
        "one by one",
        durable_text(durability, first, last),
    )


def _finish(service: Service, request: bytes, requests: int, tasks: int) -> float:
    """Tasks a second, from the first request to the last end."""
    before = service.counts()
    submitted = submit(service.address, request, requests, CONNECTIONS)
    after = service.wait_finished(before.submitted + requests * tasks)
    accepted = check_accepted(requests * tasks, 0, before, after)
    return accepted / (after.at - submitted.started)
