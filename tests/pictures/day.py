"""A day of a shop, lived by a registry whose clock is turned: its journal has the real series."""

from __future__ import annotations

import json
import math
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.requests import Add, Failed, Report, Succeeded
from afterwards.registry.state.acceptance import Limits
from tests.registry.bench import Bench, SteppedRegistry
from tests.registry.peers import Peer

DAY_SECONDS: Final = 86_400
HOUR_SECONDS: Final = 3_600
_MINUTE: Final = 60
_TENTH: Final = 10
"""The last hour is shown in steps of ten seconds."""
_RUN_SECONDS: Final = 2.0
"""The time from the claims of a step to the end of their attempts."""
_TENANTS: Final = ("acme", "globex", "initech")
_SLOTS: Final = {"async": 5_000, "thread": 500, "process": 500}


class Kind(NamedTuple):
    """The tasks of one type."""

    type: str
    executor: str
    share: float
    """Its share of all tasks."""
    run_seconds: float
    """The median."""
    failing: float
    """The share that fails."""
    error: str


KINDS: Final = (
    Kind("charge", "async", 0.52, 0.35, 0.012, "The card of order {order} has expired"),
    Kind("receipt", "async", 0.40, 0.09, 0.006, "jo{order}@shop.invalid does not exist: the "
         "receipt was returned"),
    Kind("sync-stock", "thread", 0.08, 1.6, 0.03, "No answer from leith.warehouse.example after "
         "5 s"),
)  # fmt: skip


def lived(directory: Path, seconds: int = DAY_SECONDS) -> int:
    """Write the journal of a shop that has been open for so long, until now.

    Returns:
        The number of its tasks.
    """
    bench = Bench(directory)
    # Steps begin with the minutes that the series have, so each minute has its tasks.
    begun = time.time() // _MINUTE * _MINUTE + 1.0 - seconds
    bench.clock.set_wall(begun - bench.clock.wall())
    registry = bench.registry(
        Limits(lease_seconds=2.0 * DAY_SECONDS),
        journal=bench.journal(),
        retention_seconds=7.0 * DAY_SECONDS,
    )
    shop = _Shop(bench, registry)
    try:
        for length, number in _steps(seconds):
            shop.live(length, number)
        # The time that this took belongs to the day, too.
        while time.time() - bench.clock.wall() > _TENTH:
            shop.live(_TENTH, 5)
    finally:
        bench.close()
    return shop.orders


def _steps(seconds: int) -> Iterator[tuple[int, int]]:
    """The steps of the day: their length, and how many tasks come in each."""
    at, left_over = 0, 0.0
    while at < seconds:
        length = _TENTH if seconds - at <= HOUR_SECONDS else _MINUTE
        left_over += _tasks_a_minute((seconds - at) / HOUR_SECONDS) * length / _MINUTE
        number = int(left_over)
        left_over -= number
        yield length, number
        at += length


def _tasks_a_minute(hours_ago: float) -> float:
    """A quiet night, a morning, a rush at noon, an evening."""
    hour = (20.0 - hours_ago) % 24.0
    day = max(0.0, math.sin((hour - 6.0) / 16.0 * math.pi)) if 6.0 < hour < 22.0 else 0.0
    noon = math.exp(-(((hour - 12.5) / 1.1) ** 2))
    evening = math.exp(-(((hour - 19.5) / 1.4) ** 2))
    wave = 1.0 + 0.18 * math.sin(hours_ago * 13.7) + 0.09 * math.sin(hours_ago * 71.0)
    return (5.0 + 20.0 * day + 16.0 * noon + 22.0 * evening) * wave


class _Shop:
    """The shop's orders, and a worker that does what they ask for."""

    def __init__(self, bench: Bench, registry: SteppedRegistry) -> None:
        self.orders = 0
        self._bench = bench
        self._registry = registry
        self._worker: Peer = bench.peer(registry, _SLOTS)
        self._drawn = random.Random(7)
        self._kinds: dict[str, Kind] = {kind.type: kind for kind in KINDS}

    def live(self, seconds: int, number: int) -> None:
        """Have so many tasks submitted, wait for a moment, and be done."""
        busy = number * _MINUTE / seconds / 40
        tasks = [self._task(due_before=self._wait(busy)) for _ in range(number)]
        if tasks:
            self._registry.exchange(None, 0, [Add(task) for task in tasks])
        self._worker.take()
        self._bench.clock.turn(_RUN_SECONDS)
        self._end(list(self._worker.table.values()))
        self._bench.clock.turn(seconds - _RUN_SECONDS)
        self._registry.tick()

    def _wait(self, busy: float) -> float:
        return 0.004 * self._drawn.lognormvariate(0.0, 0.5) * (1.0 + 9.0 * busy**3)

    def _task(self, *, due_before: float) -> Task:
        self.orders += 1
        kinds = list(self._kinds.values())
        (kind,) = self._drawn.choices(kinds, [kind.share for kind in kinds])
        return self._bench.task(
            run_at=self._bench.clock.wall() - due_before,
            id=str(uuid.UUID(int=self._drawn.getrandbits(128), version=4)),
            type=kind.type,
            executor=kind.executor,
            payload=json.dumps(self._payload(kind.type)).encode(),
            labels=f'{{"tenant":"{self._drawn.choice(_TENANTS)}"}}',
        )

    def _payload(self, name: str) -> dict[str, Any]:
        order = 48_000 + self.orders
        if name == "charge":
            return {"order": order, "amount": round(self._drawn.uniform(4, 190), 2), "card": "visa"}
        if name == "receipt":
            return {"order": order, "email": f"jo{order}@shop.example"}
        return {"warehouse": self._drawn.choice(["oban", "perth", "leith"]), "articles": 250}

    def _end(self, claims: Sequence[Claim]) -> None:
        if claims:
            self._worker.exchange(*map(self._report, claims))
            self._worker.table.clear()

    def _report(self, claim: Claim) -> Report:
        kind = self._kinds[claim.type]
        seconds = kind.run_seconds * self._drawn.lognormvariate(0.0, 0.55)
        if self._drawn.random() >= kind.failing:
            return Succeeded(claim.task_id, claim.attempt, b'{"done":true}', seconds)
        order = json.loads(claim.payload).get("order", 0)
        return Failed(claim.task_id, claim.attempt, kind.error.format(order=order), seconds, None)
