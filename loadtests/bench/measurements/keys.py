"""Tasks with keys, of which there are very many, beside as many tasks of a service without any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from loadtests.bench import synced, wrk
from loadtests.bench.figures import Figure, Row
from loadtests.bench.stand import Stand, check_accepted, durable_text
from loadtests.connection import post
from loadtests.metrics import Counts
from loadtests.servers import Service, running

KEYS: Final = ("concurrency_key", "unique_key")
_NONE: Final = "none"
_WAITING: Final = "report"
"""The type of the tasks that wait, each with keys of its own; it is paused."""
_BATCH_TASKS: Final = 100
_ROOM: Final = 100_000
"""For tasks of the load, as the service has by default."""


@dataclass
class _Rates:
    """The rates of one side, of each round, 1/s."""

    accepted: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)


def measure(stand: Stand) -> Iterator[Row]:
    """In turn: tasks without keys, and with one of either kind while as many keys are taken."""
    number = stand.sizes.keys
    plain, keyed = stand.service(), stand.service(max_pending=number + _ROOM)
    rates = {name: _Rates() for name in (_NONE, *KEYS)}
    with running(plain, keyed):
        durability = synced.require(keyed, stand.sizes.synced)
        stand.warm_up(plain, keyed)
        _let_wait(keyed, number)
        first = keyed.counts()
        for count in stand.rounds("keys"):
            for name in [*rates] if count % 2 == 0 else reversed(rates):
                _load(stand, plain if name == _NONE else keyed, name, rates[name])
        last = keyed.counts()
    yield from _rows(stand, rates, durable_text(durability, first, last))


def _rows(stand: Stand, rates: dict[str, _Rates], durable: str) -> Iterator[Row]:
    for name in KEYS:
        what = f"POST /tasks, {stand.sizes.connections} connections, each with a {name}"
        for end in ("accepted", "finished"):
            yield Row(
                "keys",
                f"{what}: {end}",
                "1/s",
                Figure.of(getattr(rates[name], end)),
                Figure.of(getattr(rates[_NONE], end)),
                "no keys",
                durable,
                f"{stand.sizes.keys:,} keys in turn, while tasks with as many others wait",
            )


def _let_wait(service: Service, number: int) -> None:
    """Have tasks wait, each with a key of either kind that no other task has."""
    with service.connect() as connection:
        connection.expect(200, post(f"/task-types/{_WAITING}/pause", {}))
        for first in range(0, number, _BATCH_TASKS):
            names = range(first, min(first + _BATCH_TASKS, number))
            tasks = [_waiting(f"waiting-{name}") for name in names]
            connection.expect(202, post("/tasks/batch", {"tasks": tasks}))


def _waiting(key: str) -> dict[str, object]:
    payload = {"name": "Sales", "details": {}}
    return {"type": _WAITING, "payload": payload, **dict.fromkeys(KEYS, key)}


def _load(stand: Stand, service: Service, name: str, rates: _Rates) -> None:
    sizes = stand.sizes
    before = service.counts()
    load = wrk.run(
        wrk.KEYS_SCRIPT,
        f"{service.url}/tasks",
        connections=sizes.connections,
        seconds=sizes.seconds,
        # Further on: no key is repeated before all were used.
        arguments=[name, str(sizes.keys), str(before.submitted)],
    )
    after = _wait_finished(service, before, load.answers)
    tasks = check_accepted(load.answers, sizes.connections, before, after)
    rates.accepted.append(load.per_second)
    rates.finished.append(tasks / (after.at - load.started))


def _wait_finished(service: Service, before: Counts, answers: int) -> Counts:
    """Those that have waited before go on waiting."""
    return service.wait_finished(before.submitted + answers, but=before.unfinished)
