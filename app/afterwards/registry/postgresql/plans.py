"""Pauses and limits of task types, as a process knows them, and what they leave open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from afterwards.registry.journal.plans import PlanChanges
from afterwards.registry.postgresql.database import Rows, Statement, Transaction
from afterwards.registry.postgresql.store import WorkingStore
from afterwards.registry.protocol.requests import TypeLimits

CLOSED: Final = TypeLimits(max_concurrency=-(2**31))
"""No attempt starts, however many end in the same transaction."""
_NO_LIMITS: Final = TypeLimits()
_MOST_STARTS: Final = 100_000
_LONGEST_SECONDS: Final = 1e12

_SELECT: Final = """
SELECT name, paused_at, max_concurrency, rate_count, rate_seconds, per_key, plans_version
FROM afterwards.service LEFT JOIN afterwards.types ON true
"""
_CHANGED: Final[Statement] = (
    "UPDATE afterwards.service SET plans_version = plans_version + 1",
    (),
)


class TypePlans(NamedTuple):
    """The pauses and limits of one version of the plans."""

    version: int = -1
    """-1: they are not known yet."""
    paused: Mapping[str, float] = {}
    limits: Mapping[str, TypeLimits] = {}

    @property
    def limited(self) -> list[str]:
        """The types whose starts are counted: by how many run, or by their rate."""
        return [
            name
            for name, limit in self.limits.items()
            if limit.max_concurrency is not None or limit.rate_count is not None
        ]

    def per_key(self, type_name: str) -> int:
        """The attempts at once that a type allows each of its concurrency keys."""
        return self.limits.get(type_name, _NO_LIMITS).concurrency_per_key

    def limits_document(self) -> str:
        """The limits of those types, for the functions of the database."""
        limits = {
            name: {
                "most": limit.max_concurrency,
                "rate_count": limit.rate_count,
                "rate_seconds": limit.rate_seconds,
            }
            for name, limit in ((one, self.limits[one]) for one in self.limited)
        }
        return orjson.dumps(limits).decode()

    def budget_statement(self) -> Statement:
        """Locks the limited types, and counts what they have started; for `restrict`."""
        sql = "SELECT type, running, starts FROM afterwards.budgets(%s::json)"
        return sql, (self.limits_document(),)


def load(transaction: Transaction) -> TypePlans:
    """The plans as they are in this transaction."""
    [rows] = transaction.run([(_SELECT, ())])
    known = [row for row in rows if row[0] is not None]
    return TypePlans(
        rows[0][-1],
        {name: since for name, since, *_ in known if since is not None},
        {
            name: limit
            for name, _, most, count, seconds, per_key, _ in known
            if (limit := TypeLimits(most, count, seconds, per_key)) != _NO_LIMITS
        },
    )


def restrict(store: WorkingStore, plans: TypePlans, budgets: Rows | None) -> None:
    """Let types start in this transaction what the plans allow.

    Args:
        budgets: the rows of `budget_statement`; None: limited types start nothing in it.
    """
    store.throttles.load(plans.paused, ())
    used = {name: (running, starts) for name, running, starts in budgets or ()}
    limits: dict[str, TypeLimits] = {}
    for name, limit in plans.limits.items():
        limits[name] = _restricted(limit, used.get(name))
    store.restrict(limits)
    for name, (running, _) in used.items():
        store.throttles.running[name] = running


def closed_types(plans: TypePlans) -> list[str]:
    """Types of which nothing can be claimed, whatever has ended."""
    return list(plans.paused)


def _restricted(limit: TypeLimits, used: tuple[int, int] | None) -> TypeLimits:
    if limit.max_concurrency is None and limit.rate_count is None:
        return limit
    if used is None:
        return CLOSED._replace(concurrency_per_key=limit.concurrency_per_key)
    if limit.rate_count is None:
        return limit
    left = min(limit.rate_count, _MOST_STARTS) - used[1]
    if left <= 0:
        return CLOSED._replace(concurrency_per_key=limit.concurrency_per_key)
    # Those that have started before are counted by the database; the window does not move here.
    return limit._replace(rate_count=left, rate_seconds=_LONGEST_SECONDS)


def written(changes: PlanChanges | None, elapsed: float) -> list[Statement]:
    """Statements for the pauses and the starts of a transaction."""
    if changes is None:
        return []
    statements: list[Statement] = []
    for name, since in changes.paused.items():
        sql = (
            "INSERT INTO afterwards.types (name, paused_at) VALUES (%s, %s) "
            "ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at"
        )
        statements.append((sql, (name, since)))
    if changes.paused:
        statements.append(_CHANGED)
    if changes.starts:
        sql = "INSERT INTO afterwards.starts (type, elapsed) SELECT unnest(%s::text[]), %s"
        statements.append((sql, ([start.type for start in changes.starts], elapsed)))
    return statements


def limits_written(limits: Mapping[str, TypeLimits]) -> list[Statement]:
    """Statements for the latest word of a worker on all types' limits."""
    rows: Iterable[Mapping[str, Any]] = (
        {
            "name": name,
            "max_concurrency": limit.max_concurrency,
            "rate_count": limit.rate_count,
            "rate_seconds": limit.rate_seconds,
            "per_key": limit.concurrency_per_key,
        }
        for name, limit in limits.items()
    )
    forget = (
        "UPDATE afterwards.types SET max_concurrency = NULL, rate_count = NULL, "
        "rate_seconds = 1, per_key = 1 WHERE NOT name = ANY (%s)"
    )
    put = """
INSERT INTO afterwards.types (name, max_concurrency, rate_count, rate_seconds, per_key)
SELECT * FROM json_to_recordset(%s::json)
    AS new (name text, max_concurrency int, rate_count int, rate_seconds float8, per_key int)
ON CONFLICT (name) DO UPDATE SET max_concurrency = excluded.max_concurrency,
    rate_count = excluded.rate_count, rate_seconds = excluded.rate_seconds,
    per_key = excluded.per_key
"""
    return [
        (forget, (list(limits),)),
        (put, (orjson.dumps(list(rows)).decode(),)),
        _CHANGED,
    ]
