"""Tasks with keys, of which there are very many, beside as many tasks of a service without keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
class _Figures:
    """The figures of one side, of each round. Rates are per second."""

    accepted: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    """The processor time of all processes of the service, us per task: other work on the machine
    changes it less than the rates."""


def measure(stand: Stand) -> Iterator[Row]:
    """In turn: tasks without keys, and with one of either kind while as many keys are taken.

    As many tasks wait on both sides: unfinished tasks have a cost of their own.
    """
    number = stand.sizes.keys
    plain, keyed = (stand.service(max_pending=number + _ROOM) for _ in range(2))
    figures = {name: _Figures() for name in (_NONE, *KEYS)}
    with running(plain, keyed):
        durability = synced.require(keyed, stand.sizes.synced)
        stand.warm_up(plain, keyed)
        _let_wait(plain, number, ())
        _let_wait(keyed, number, KEYS)
        first = keyed.counts()
        for count in stand.rounds("keys"):
            for name in [*figures] if count % 2 == 0 else reversed(figures):
                _load(stand, plain if name == _NONE else keyed, name, figures[name])
        last = keyed.counts()
    yield from _rows(stand, figures, durable_text(durability, first, last))


def _rows(stand: Stand, figures: dict[str, _Figures], durable: str) -> Iterator[Row]:
    for name in KEYS:
        what = f"POST /tasks, {stand.sizes.connections} connections, each with a {name}"
        for quantity, unit in (("accepted", "1/s"), ("finished", "1/s"), ("processor", "us/task")):
            yield Row(
                "keys",
                f"{what}: {quantity}",
                unit,
                Figure.of(getattr(figures[name], quantity)),
                Figure.of(getattr(figures[_NONE], quantity)),
                "no keys",
                durable,
                f"{stand.sizes.keys:,} keys in turn, while as many tasks with others wait",
            )


def _let_wait(service: Service, number: int, keys: Sequence[str]) -> None:
    """Have tasks wait, each with keys of these kinds that no other task has."""
    payload = {"name": "Sales", "details": {}}
    with service.connect() as connection:
        connection.expect(200, post(f"/task-types/{_WAITING}/pause", {}))
        for first in range(0, number, _BATCH_TASKS):
            tasks = [
                {"type": _WAITING, "payload": payload, **dict.fromkeys(keys, f"waiting-{name}")}
                for name in range(first, min(first + _BATCH_TASKS, number))
            ]
            connection.expect(202, post("/tasks/batch", {"tasks": tasks}))


def _load(stand: Stand, service: Service, name: str, figures: _Figures) -> None:
    sizes = stand.sizes
    before, used_before = service.counts(), service.processor_seconds()
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
    figures.accepted.append(load.per_second)
    figures.finished.append(tasks / (after.at - load.started))
    figures.processor.append((service.processor_seconds() - used_before) / tasks * 1e6)


def _wait_finished(service: Service, before: Counts, answers: int) -> Counts:
    """Those that have waited before go on waiting."""
    return service.wait_finished(before.submitted + answers, but=before.unfinished)
