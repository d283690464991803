"""Task types of a module, which run in hosts, beside one that comes with the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loadtests.bench.figures import Figure, Row, percentile
from loadtests.bench.measurements.finish import follow
from loadtests.bench.stand import Stand, check_accepted
from loadtests.connection import post, submit
from loadtests.servers import Service

OURS: Final = "notification"
GUESTS: Final = ("guest-async", "guest-thread", "guest-process")
_MODULE: Final = "loadtests.bench.guest_types"
_CHECKOUT: Final = Path(__file__).parents[3]


def measure(stand: Stand) -> Iterator[Row]:
    """All of them are submitted in the same way, in turn."""
    types = (OURS, *GUESTS)
    finished: dict[str, list[float]] = {name: [] for name in types}
    alone: dict[str, list[float]] = {name: [] for name in types}
    followed: dict[str, list[float]] = {name: [] for name in types}
    service = stand.service(task_modules=_MODULE)
    service.see_modules_in(_CHECKOUT)
    with service:
        for name in types:  # their hosts start, and modules are imported
            _finish(service, name, stand.sizes.connections, stand.sizes.connections)
        for _ in stand.rounds("guests"):
            for name in types:
                number = stand.sizes.requests
                finished[name].append(_finish(service, name, number, stand.sizes.connections))
                alone[name].append(_median_ms(service, name, stand.sizes.one_by_one))
                followed[name].append(_median_followed_ms(service, name, stand.sizes.one_by_one))
    connections = stand.sizes.connections
    for name in GUESTS:
        for what, unit, took in (
            (f"{connections} connections: finished", "1/s", finished),
            ("POST, 1 connection: p50", "ms", alone),
            ("submit to finished: p50", "ms", followed),
        ):
            own, ours = Figure.of(took[name]), Figure.of(took[OURS])
            note = "" if unit == "1/s" else f"{own.median - ours.median:+.2f} ms"
            yield Row("guests", f"{name}, {what}", unit, own, ours, OURS, "", note)


def _request(name: str) -> bytes:
    payload = {"email": "johndoe@example.com", "message": "Your submission was received."}
    return post("/tasks", {"type": name, "payload": payload})


def _finish(service: Service, name: str, number: int, connections: int) -> float:
    """Tasks a second, from the first request to the last end."""
    before = service.counts()
    submitted = submit(service.address, _request(name), number, connections)
    after = service.wait_finished(before.submitted + number)
    check_accepted(number, 0, before, after)
    return number / (after.at - submitted.started)


def _median_ms(service: Service, name: str, requests: int) -> float:
    request = _request(name)
    took = []
    with service.connect() as connection:
        for _ in range(requests):
            started = time.perf_counter()
            connection.expect(202, request)
            took.append((time.perf_counter() - started) * 1e3)
    return percentile(took, 0.5)


def _median_followed_ms(service: Service, name: str, tasks: int) -> float:
    with service.connect() as connection:
        took = [follow(connection, _request(name))[0] for _ in range(tasks)]
    return percentile(took, 0.5)
