"""Tasks and schedules of types that no worker knows any more: they are told of, no more."""

from __future__ import annotations

from collections import Counter

from afterwards.logs import get_logger
from afterwards.registry.state.ledger import Ledger
from afterwards.registry.state.schedule_table import ScheduleTable
from afterwards.registry.state.store import TaskStore

log = get_logger(__name__)


class GoneTypes:
    """Looks for them whenever a worker joins that knows other types than those before it."""

    def __init__(self, ledger: Ledger, store: TaskStore, schedules: ScheduleTable) -> None:
        self._ledger = ledger
        self._store = store
        self._schedules = schedules
        self._looked: set[frozenset[str]] = set()

    def look_for(self, known: frozenset[str]) -> None:
        """Log what there is of types that no worker knows; once for each set of known types.

        Args:
            known: the types of the worker that joins; empty: it does not say.
        """
        if not known or known in self._looked:
            return
        self._looked.add(known)
        everybody = known.union(*(record.known_types for record in self._ledger))
        tasks = self._store.unfinished_by_type()
        # Those that are gone with their types make no tasks.
        schedules = Counter(one.pattern.type for one in self._schedules if not one.gone)
        gone = sorted({*tasks, *schedules} - everybody)
        if gone:
            log.warning(
                "there are tasks or schedules of types that no longer exist; such tasks fail, "
                "unless they are moved to another type, or cancelled",
                tasks={name: tasks[name] for name in gone if tasks[name]},
                schedules={name: schedules[name] for name in gone if schedules[name]},
            )
