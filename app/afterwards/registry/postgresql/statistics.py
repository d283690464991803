"""The service on one page, and its metrics: the sums of what all its processes have counted."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from afterwards.counts import Cell, Snapshot
from afterwards.lifecycle import FINAL_STATES, TaskState
from afterwards.metrics import render
from afterwards.registry.postgresql import measures, walks
from afterwards.registry.postgresql.database import Database, Rows, Statement
from afterwards.registry.postgresql.fleet import Fleet
from afterwards.registry.postgresql.measures import Measures
from afterwards.registry.postgresql.schedules import SUM_UP as SUM_UP_SCHEDULES
from afterwards.registry.postgresql.working_set import UNFINISHED
from afterwards.registry.protocol.answers import Statistics
from afterwards.registry.protocol.filters import Filter, Order
from afterwards.registry.state.fleet import slots_of

_SECONDS: Final = 10
"""The span of time that rates go over."""
_MOST_IN_SPAN: Final = 1_000_000

SUM_COUNTS: Final[Statement] = (
    f"""
SELECT counter, type, label, sum(number)::bigint FROM afterwards.counts
WHERE counter <> '{UNFINISHED}' GROUP BY counter, type, label
""",
    (),
)
SCHEMA: Final = """
-- The time since which the oldest task that can be claimed could have been: of each lane, type and
-- priority the first one is looked at.
CREATE FUNCTION afterwards.oldest_pending() RETURNS float8 LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    next_lane text := '';
    next_type text;
    next_priority int;
    first_due float8;
    oldest float8;
BEGIN
    LOOP
        SELECT min(t.lane) INTO next_lane FROM afterwards.tasks AS t WHERE t.lane > next_lane;
        EXIT WHEN next_lane IS NULL;
        next_type := '';
        LOOP
            SELECT min(t.type) INTO next_type FROM afterwards.tasks AS t
                WHERE t.lane = next_lane AND t.type > next_type;
            EXIT WHEN next_type IS NULL;
            CONTINUE WHEN EXISTS (
                SELECT FROM afterwards.types AS p
                WHERE p.name = next_type AND p.paused_at IS NOT NULL
            );
            next_priority := 32767;
            LOOP
                SELECT t.priority, t.run_at INTO next_priority, first_due
                    FROM afterwards.tasks AS t
                    WHERE t.lane = next_lane AND t.type = next_type
                        AND t.priority < next_priority
                    ORDER BY t.priority DESC, t.age LIMIT 1;
                EXIT WHEN NOT FOUND;
                oldest := least(oldest, first_due);
            END LOOP;
        END LOOP;
    END LOOP;
    RETURN oldest;
END
$$;
"""
_OLDEST: Final[Statement] = (
    "SELECT greatest(0, afterwards.wall() - afterwards.oldest_pending())",
    (),
)
_PAUSED: Final[Statement] = (
    "SELECT name FROM afterwards.types WHERE paused_at IS NOT NULL ORDER BY name",
    (),
)
_WEBHOOKS: Final[Statement] = (
    """
SELECT (SELECT count(*) FROM afterwards.webhooks WHERE disabled_since IS NOT NULL),
    (SELECT count(*) FROM afterwards.notices)
""",
    (),
)
_SIZE: Final[Statement] = (
    """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relnamespace = 'afterwards'::regnamespace AND relkind = 'r'
""",
    (),
)
# The last whole seconds, by the times that tasks have; indexes know them.
_LATELY: Final = f"""
SELECT s.state, (
    SELECT count(*) FROM (
        SELECT FROM afterwards.tasks AS t WHERE t.state = s.state AND t.finished_at IS NOT NULL
            AND t.finished_at >= floor(afterwards.wall()) - {_SECONDS}
            AND t.finished_at < floor(afterwards.wall()) LIMIT {_MOST_IN_SPAN}
    ) AS ended
) FROM unnest(%s::text[]) AS s (state)
"""
_FINAL: Final = sorted(state.value for state in FINAL_STATES)


class Figures:
    """Answers with figures of the whole service.

    Args:
        own: what this process has measured.
    """

    def __init__(self, database: Database, fleet: Fleet, own: Measures) -> None:
        self._database = database
        self._fleet = fleet
        self.own = own
        self._since = time.monotonic()

    def uptime_seconds(self) -> float:
        """The time for which this process has run."""
        return time.monotonic() - self._since

    def counts(self) -> dict[Cell, int]:
        """The sums of all writers' counts."""
        return _cells(*self._database.read(SUM_COUNTS))

    def statistics(self) -> Statistics:
        """The service on one page."""
        [(size,)], [(schedules, _)], ended, submitted = self._database.read(
            _SIZE, SUM_UP_SCHEDULES, (_LATELY, (_FINAL,)), _submitted_lately()
        )
        lately: dict[str, int] = dict(ended)
        finished = sum(lately.values()) / _SECONDS
        snapshot = self._snapshot()
        return Statistics(
            snapshot,
            uptime_seconds=self.uptime_seconds(),
            finished_per_second=finished,
            paused_types=snapshot.paused_types,
            schedules=schedules,
            journal_bytes=size,
            per_second={
                "submitted": submitted[0][0] / _SECONDS,
                "finished": finished,
                "failed": lately[TaskState.FAILED.value] / _SECONDS,
            },
        )

    def metrics(self) -> bytes:
        """All metrics. What is shown is written before, so that no number falls when this ends."""
        self.own.flush()
        kept = measures.kept_of(
            *self._database.read(measures.SELECT_WORKERS, measures.SELECT_CELLS)
        )
        return render(self._snapshot(), kept)

    def _snapshot(self) -> Snapshot:
        counts, [(oldest,)], paused, [(disabled, notices)] = self._database.read(
            SUM_COUNTS, _OLDEST, _PAUSED, _WEBHOOKS
        )
        slots: Counter[tuple[str, str]] = Counter()
        workers = 0
        for record in self._fleet.records():
            workers += record.joined
            slots.update(slots_of(record))
        return Snapshot(
            counts=_cells(counts),
            oldest_pending_seconds=oldest or 0.0,
            slots=slots,
            workers=workers,
            paused_types=[name for (name,) in paused],
            webhooks_disabled=disabled,
            notices_waiting=notices,
        )


def _cells(rows: Rows) -> dict[Cell, int]:
    return {(counter, type_name, label): number for counter, type_name, label, number in rows}


def _submitted_lately() -> Statement:
    until = float(int(time.time()))
    span = Filter(created_after=until - _SECONDS, created_before=until)
    start = walks.place_of(None, Order.CREATED)
    walk, values = walks.walk(span, Order.CREATED, start, _MOST_IN_SPAN)
    return f"SELECT count(*) FROM ({walk}) AS w", values
