"""The tasks outside the working set of a transaction: read when the rules ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from afterwards.lifecycle import Task
from afterwards.registry.journal.batch import rest_of
from afterwards.registry.postgresql.columns import SELECTED, SELECTED_TO_WORK, to_stored, to_task
from afterwards.registry.postgresql.database import Transaction
from afterwards.registry.postgresql.ids import is_id
from afterwards.registry.postgresql.store import WorkingStore
from afterwards.webhooks.notice import Notice

_LOCK_ONE: Final = f"SELECT {SELECTED_TO_WORK} FROM afterwards.tasks WHERE id = %s FOR UPDATE"
SELECT_BY_KEYS: Final = f"SELECT {SELECTED} FROM afterwards.tasks WHERE idempotency_key = ANY (%s)"
_SELECT_REST: Final = (
    "SELECT id::text FROM afterwards.tasks "
    'WHERE idempotency_key COLLATE "C" > %s AND idempotency_key COLLATE "C" < %s'
)
_COUNT_CHILDREN: Final = (
    "SELECT count(*), coalesce(sum(length(payload)), 0)::bigint "
    "FROM afterwards.tasks WHERE parent = %s"
)


class TransactionArchive:
    """An `Archive` over the transaction at work.

    What the transaction has read already is not read again, so that most exchanges ask for nothing.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._store: WorkingStore | None = None
        self._missing: set[str] = set()
        self._by_key: dict[str, Task | None] = {}
        self._notices: list[Notice] = []

    def serve(self, store: WorkingStore) -> None:
        """Put what is read and locked into this store."""
        self._store = store

    def note_missing(self, ids: Sequence[str]) -> None:
        """There are no tasks of these ids."""
        self._missing.update(ids)

    def note_keys(self, by_key: Mapping[str, Task | None]) -> None:
        """Know the tasks of some idempotency keys; None: there is none."""
        self._by_key.update(by_key)

    def note_notices(self, notices: Sequence[Notice]) -> None:
        """Know the oldest notices of each receiver, in the order of their numbers."""
        self._notices += notices

    def read(self, task_id: str) -> Task | None:
        """See `Archive`. It is locked from now on."""
        assert self._store is not None
        if task_id in self._missing or not is_id(task_id):
            return None
        if self._store.has(task_id):
            return self._store.get(task_id)
        [found] = self._transaction.run([(_LOCK_ONE, (task_id,))])
        if not found:
            self._missing.add(task_id)
            return None
        self._store.take_in(to_stored(found[0]))
        return self._store.get(task_id)

    def read_by_key(self, idempotency_key: str) -> Task | None:
        """See `Archive`."""
        if idempotency_key not in self._by_key:
            [found] = self._transaction.run([(SELECT_BY_KEYS, ([idempotency_key],))])
            self._by_key[idempotency_key] = to_task(found[0]) if found else None
        return self._by_key[idempotency_key]

    def rest_of_batch(self, first: Task) -> Sequence[str]:
        """See `Archive`."""
        bounds = rest_of(first)
        if bounds is None:
            return []
        [found] = self._transaction.run([(_SELECT_REST, bounds)])
        return [task_id for (task_id,) in found]

    def children_of(self, task_id: str) -> tuple[int, int]:
        """See `Archive`."""
        [[(number, size)]] = self._transaction.run([(_COUNT_CHILDREN, (task_id,))])
        return number, size

    def notices(self, receiver: str, after: int, limit: int) -> Sequence[Notice]:
        """See `Archive`. Those are given that were read: the leader reads all it has a turn for."""
        fitting = (one for one in self._notices if one.receiver == receiver and one.number > after)
        return list(islice(fitting, limit))

    def was_deleted(self, task_id: str) -> bool:
        """See `Archive`."""
        if not is_id(task_id):
            return False
        [found] = self._transaction.run(
            [("SELECT 1 FROM afterwards.deleted WHERE id = %s", (task_id,))]
        )
        return bool(found)
