"""The unfinished tasks of owners whose keys bound them, over all workers (rule 25)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from afterwards.registry.postgresql.database import Transaction
from afterwards.registry.postgresql.store import WorkingStore

# One transaction at a time accepts tasks of an owner that is bounded.
_LOCK: Final = """
SELECT pg_advisory_xact_lock(1634104426, number) FROM (
    SELECT DISTINCT hashtext(owner) AS number FROM unnest(%s::text[]) AS o (owner) ORDER BY 1
) AS sorted
"""
_SUM_UP: Final = """
SELECT o.owner, count(t.id), coalesce(sum(length(t.payload)), 0)::bigint
FROM unnest(%s::text[]) AS o (owner)
LEFT JOIN afterwards.tasks AS t ON t.owner = o.owner AND t.finished_at IS NULL
GROUP BY o.owner
"""


def sum_up(transaction: Transaction, store: WorkingStore, owners: Sequence[str]) -> None:
    """Lock these owners, and have the store know what they have unfinished."""
    _, rows = transaction.run([(_LOCK, (list(owners),)), (_SUM_UP, (list(owners),))])
    for owner, tasks, size in rows:
        store.sum_up_owner(owner, tasks, size)
