"""The workers of all machines, as the database has them."""

from __future__ import annotations

import math
import os
from typing import Any, Final

from afterwards.registry.postgresql import columns, workers
from afterwards.registry.postgresql.database import Database, Rows, Statement
from afterwards.registry.protocol.answers import RegistryView, WorkerList
from afterwards.registry.protocol.base import ALIVE_SECONDS, Worker
from afterwards.registry.state.fleet import MAX_ATTEMPTS, view_of
from afterwards.registry.state.ledger import Ledger, WorkerRecord
from afterwards.system.processes import memory_bytes

# A lease ends so long after the last beat; saying that one is alive puts that off, but not far.
_SELECT_WORKERS: Final = f"""
SELECT {", ".join(workers.SELECTED)}, w.name, greatest(
    w.beaten_at + %s, least(coalesce(a.said_at, '-infinity') + %s, w.beaten_at + {ALIVE_SECONDS})
) - afterwards.wall()
FROM afterwards.workers AS w LEFT JOIN afterwards.alive AS a ON a.worker = w.name
WHERE NOT w.gone ORDER BY w.name
"""
_COUNT_HELD: Final = """
SELECT worker, executor, crowd, count(*) FROM afterwards.tasks
WHERE worker IS NOT NULL GROUP BY worker, executor, crowd
"""
_SELECT_OLDEST: Final = f"""
SELECT {", ".join(f"o.{name}" for name in columns.NAMES)}
FROM afterwards.workers AS w, LATERAL (
    SELECT {columns.SUMMARY_SELECTED}, age FROM afterwards.tasks
    WHERE worker = w.name ORDER BY started_at, age LIMIT {MAX_ATTEMPTS}
) AS o ({", ".join((*columns.NAMES, "age"))})
WHERE NOT w.gone ORDER BY o.started_at, o.age
"""


class Fleet:
    """Reads workers.

    Args:
        lease_seconds: how long a worker may be silent.
    """

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    def workers(self, uptime_seconds: float) -> WorkerList:
        """All whose processes run.

        Args:
            uptime_seconds: how long this registry has run.
        """
        rows, held, oldest = self._database.read(
            self._select_workers(), (_COUNT_HELD, ()), (_SELECT_OLDEST, ())
        )
        tasks = [columns.to_task(row) for row in oldest]
        views = [
            view_of(
                record,
                (task for task in tasks if task.worker == str(record.worker)),
                sum(number for name, _, _, number in held if name == str(record.worker)),
                max(0.0, left) if math.isfinite(left) else None,
            )
            for record, left in self._records(rows, held)
        ]
        pid = os.getpid()
        return WorkerList(views, RegistryView(pid, uptime_seconds, memory_bytes(pid)))

    def records(self) -> list[WorkerRecord]:
        """Their records, with what they hold counted."""
        rows, held = self._database.read(self._select_workers(), (_COUNT_HELD, ()))
        return [record for record, _ in self._records(rows, held)]

    def _select_workers(self) -> Statement:
        return _SELECT_WORKERS, (self._lease_seconds, self._lease_seconds)

    def _records(self, rows: Rows, held: Rows) -> list[tuple[WorkerRecord, float]]:
        ledger = Ledger()
        records: list[tuple[WorkerRecord, float]] = []
        for *stored, name, left in rows:
            entry = workers.at(0.0, 0.0)._replace(
                **dict(zip(workers.SELECTED, stored, strict=True))
            )
            record = workers.to_record(ledger, Worker.parse(name), entry)
            workers.set_used(record, _of(name, held), None)
            records.append((record, left))
        return records


def _of(name: str, held: Rows) -> list[tuple[Any, ...]]:
    return [row[1:] for row in held if row[0] == name]
