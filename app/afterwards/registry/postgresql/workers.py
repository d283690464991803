"""Workers as rows of the database, and what a process remembers of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from afterwards.registry.postgresql.database import Rows, Statement
from afterwards.registry.protocol.base import SUSPECTED, Worker
from afterwards.registry.protocol.requests import HostReport, WorkerReport
from afterwards.registry.state.ledger import Ledger, WorkerRecord

ENTER: Final = "SELECT * FROM afterwards.enter(%s, %s, %s)"
SELECTED: Final = (
    "connection", "joined", "draining", "over", "doomed", "gone", "generation", "slots", "said",
)  # fmt: skip
"""The columns of a worker that an `Entry` has."""
COUNT_HELD: Final = """
SELECT executor, crowd, count(*) FROM afterwards.tasks WHERE worker = %s GROUP BY executor, crowd
"""
COUNT_SOLO: Final = """
SELECT count(*) FROM afterwards.tasks WHERE solo AND crowd = 1 AND state = 'processing'
"""
_PUT: Final = """
INSERT INTO afterwards.workers AS old (
    name, service, connection, joined, draining, over, doomed, gone, generation, slots, said
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::json, %s::json)
ON CONFLICT (name) DO UPDATE SET
    connection = excluded.connection, joined = excluded.joined, draining = excluded.draining,
    over = excluded.over, doomed = excluded.doomed, gone = excluded.gone,
    generation = excluded.generation, slots = excluded.slots, said = excluded.said,
    beats = old.beats + 1, beaten_at = afterwards.wall()
"""


class Entry(NamedTuple):
    """The state that an exchange finds when it begins: a row of `ENTER`."""

    wall: float
    elapsed: float
    keys_version: int
    plans_version: int
    webhooks_version: int
    latest_generation: int | None
    known: bool
    """The caller has a row; otherwise the rest says nothing."""
    connection: int
    joined: bool
    draining: bool
    over: str | None
    doomed: bool
    gone: bool
    generation: int
    slots: Mapping[str, int]
    said: Mapping[str, Any]


def at(wall: float, elapsed: float) -> Entry:
    """The entry of a transaction that has no caller."""
    return Entry(
        wall, elapsed, 0, 0, 0, None, False, 0, False, False, None, False, False, 0, {}, {}
    )


@dataclass
class Remembered:
    """The knowledge of a worker that its process has since the last exchange.

    It alone claims for it, so it may only believe in more claims than there are. Each beat has them
    counted again.
    """

    connection: int
    slots: Mapping[str, int]
    used: Counter[str]
    crowds: Counter[tuple[str, int]]
    takes: bool = True
    """It has joined, and does not drain."""

    @classmethod
    def of(cls, record: WorkerRecord) -> Remembered:
        """The part of a worker's record that is remembered."""
        takes = record.joined and not record.draining
        return cls(record.connection, dict(record.slots), record.used, record.crowds, takes=takes)

    def lanes(self, reports: int) -> dict[str, int]:
        """The most tasks to look for in each lane."""
        most = {
            kind: max(0, number - self.used[kind]) + reports
            for kind, number in self.slots.items()
            if kind != SUSPECTED
        }
        if self.slots.get(SUSPECTED):
            most[SUSPECTED] = _MOST_SUSPECTS
        return {kind: number for kind, number in most.items() if number > 0}


_MOST_SUSPECTS: Final = 100
"""So many suspects are looked at; how many of them fit depends on their crowds."""


@dataclass
class Roster:
    """The workers that this process speaks for."""

    by_name: dict[str, Remembered] = field(default_factory=dict)

    def find(self, name: str, connection: int) -> Remembered | None:
        """The memory of a worker under its current connection; None: there is none."""
        found = self.by_name.get(name)
        return found if found is not None and found.connection == connection else None

    def forget(self, name: str) -> None:
        """An exchange has failed: count again."""
        self.by_name.pop(name, None)

    def note(self, record: WorkerRecord) -> None:
        """An exchange is committed."""
        self.by_name[str(record.worker)] = Remembered.of(record)


def to_record(ledger: Ledger, worker: Worker, entry: Entry) -> WorkerRecord:
    """The record of a worker, as the database has it."""
    record = ledger.enter(worker, float("inf"))
    record.connection, record.joined = entry.connection, entry.joined
    record.draining, record.over = entry.draining, entry.over
    record.doomed, record.gone = entry.doomed, entry.gone
    record.generation, record.slots = entry.generation, entry.slots
    said = entry.said
    record.stuck = said["stuck"]
    record.user_types = frozenset(said["user_types"])
    record.known_types = frozenset(said["known_types"])
    record.report = _to_report(said["report"])
    return record


def set_used(record: WorkerRecord, rows: Rows | None, remembered: Remembered | None) -> None:
    """Have a worker's claims counted, those elsewhere included.

    Args:
        rows: of `COUNT_HELD`; None: `remembered` knows.
    """
    if rows is None:
        if remembered is not None:
            record.used, record.crowds = Counter(remembered.used), Counter(remembered.crowds)
        return
    record.used, record.crowds = Counter(), Counter()
    for executor, crowd, number in rows:
        if crowd == 0:
            record.used[executor] += number
        else:
            record.crowds[executor, crowd] += number
    record.used[SUSPECTED] = sum(
        -(-number // crowd) for (_, crowd), number in record.crowds.items()
    )


def put(record: WorkerRecord) -> Statement:
    """Write a worker's row, and let its lease begin anew."""
    said = {
        "stuck": record.stuck,
        "user_types": sorted(record.user_types),
        "known_types": sorted(record.known_types),
        "report": record.report and _report_columns(record.report),
    }
    return _PUT, (
        str(record.worker),
        record.worker.service,
        record.connection,
        record.joined,
        record.draining,
        record.over,
        record.doomed,
        record.gone,
        record.generation,
        orjson.dumps(dict(record.slots)).decode(),
        orjson.dumps(said).decode(),
    )


def _report_columns(report: WorkerReport) -> dict[str, Any]:
    hosts = [host._asdict() for host in report.hosts]
    return {**report._asdict(), "hosts": hosts, "host_pids": dict(report.host_pids)}


def _to_report(columns: Mapping[str, Any] | None) -> WorkerReport | None:
    if columns is None:
        return None
    hosts: Sequence[HostReport] = [HostReport(**host) for host in columns["hosts"]]
    return WorkerReport(**{**columns, "hosts": hosts})
