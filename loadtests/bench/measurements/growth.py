"""The cost of a long history: speed, memory and start-up with finished tasks in the journal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loadtests.bench import stock, synced
from loadtests.bench.figures import Figure, Row
from loadtests.bench.notification import SUBMIT
from loadtests.bench.stand import Stand, check_accepted
from loadtests.bench.synced import Durability
from loadtests.connection import submit
from loadtests.servers import Service

_MIB: Final = 2**20


@dataclass
class _Stock:
    """So many finished tasks, and what was measured with them, round by round."""

    number: int
    directory: Path
    task_ids: list[str]
    accepted: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    pss: list[float] = field(default_factory=list)
    durability: Durability = field(default_factory=Durability)


def measure(stand: Stand) -> Iterator[Row]:
    """Each round goes through all sizes, with a copy of the journal of each."""
    stocks = [_make(stand, number) for number in stand.sizes.stored]
    for _ in stand.rounds("growth"):
        for one in stocks:
            _measure(stand, one)
    base = stocks[0]
    for one in stocks:
        shutil.rmtree(one.directory)
        yield from _rows(one, base)


def _make(stand: Stand, number: int) -> _Stock:
    stand.say(f"growth: writing a journal of {number:,} tasks")
    directory = stand.new_directory("stock")
    return _Stock(number, directory, stock.fill_by(stand.program, directory, number))


def _measure(stand: Stand, one: _Stock) -> None:
    service = stand.service()
    stock.copy(one.directory, service.data_dir)
    with service:
        one.start.append(service.start_seconds)
        one.durability += synced.require(service, stand.sizes.synced)
        stand.warm_up(service)
        before = service.counts()
        load = stand.post(service)
        after = service.wait_finished(before.submitted + load.answers)
        check_accepted(load.answers, stand.sizes.connections, before, after)
        one.accepted.append(load.per_second)
        one.read.append(stand.read(service, _ids_file(stand, service, one)).per_second)
        memory = service.memory()
        one.rss.append(memory.rss_bytes / _MIB)
        one.pss.append(memory.pss_bytes / _MIB)
    shutil.rmtree(service.directory)


def _ids_file(stand: Stand, service: Service, one: _Stock) -> Path:
    task_ids = one.task_ids
    if not task_ids:
        # Nothing is stored but what this round has brought.
        submitted = submit(service.address, SUBMIT, stand.sizes.readable, stand.sizes.connections)
        task_ids = submitted.task_ids
        service.wait_finished(len(task_ids))
    file = service.directory / "ids"
    file.write_text("\n".join(task_ids) + "\n")
    return file


def _rows(one: _Stock, base: _Stock) -> Iterator[Row]:
    beside = None if one is base else base
    for name, unit, field_name in (
        ("POST accepted", "1/s", "accepted"),
        ("status reads", "1/s", "read"),
        ("start until ready", "s", "start"),
        ("memory, RSS summed", "MiB", "rss"),
        ("memory, PSS summed", "MiB", "pss"),
    ):
        yield Row(
            "growth",
            f"{one.number:,} finished tasks stored: {name}",
            unit,
            Figure.of(getattr(one, field_name)),
            None if beside is None else Figure.of(getattr(beside, field_name)),
            "" if beside is None else f"{base.number:,} stored",
            str(one.durability),
        )
