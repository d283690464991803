"""`Registry.watch`: waiting until an exchange would bring a worker something."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

import orjson

from afterwards.registry.postgresql import plans as type_plans
from afterwards.registry.postgresql.database import Database
from afterwards.registry.postgresql.notices import CLAIMS, KEYS, Notices, of_worker
from afterwards.registry.postgresql.workers import Roster
from afterwards.registry.postgresql.working_set import Opening
from afterwards.registry.protocol.base import Worker

# Whether there is anything; what there is, and whether it fits, an exchange will say.
_LOOK: Final = """
SELECT w.joined AND w.connection = %s, (SELECT keys_version FROM afterwards.service),
    EXISTS (SELECT FROM afterwards.tasks AS t WHERE t.worker = w.name AND t.cancel_requested
        AND t.told IS DISTINCT FROM w.connection),
    afterwards.wanted(%s::json, %s::text[], %s::json)
FROM afterwards.workers AS w WHERE w.name = %s
"""


class Watcher:
    """Lets threads wait for what concerns their workers.

    A look that finds something says so once: until something has happened after it, the next call
    waits, even if the worker could not be given what there is.
    """

    def __init__(
        self, database: Database, notices: Notices, roster: Roster, opening: Opening
    ) -> None:
        self._database = database
        self._notices = notices
        self._roster = roster
        self._opening = opening
        self._seen: dict[tuple[str, int], tuple[int, ...]] = {}
        self._keys_told: dict[str, int] = {}
        self._lock = threading.Lock()

    def watch(self, worker: Worker, connection: int, seconds: float) -> bool:
        """See `Registry.watch`."""
        ends_at = time.monotonic() + seconds
        name = str(worker)
        topics = [CLAIMS, KEYS, of_worker(name)]
        seen = self._seen.get((name, connection))
        while True:
            if seen is not None and not self._notices.wait(
                topics, seen, ends_at - time.monotonic()
            ):
                return False
            seen = self._notices.numbers(topics)
            with self._lock:
                self._seen = {k: n for k, n in self._seen.items() if k[0] != name}
                self._seen[name, connection] = seen
            called = self._look(name, connection)
            if called is None or self._notices.closed:
                return False
            if called:
                return True

    def told(self, name: str, keys_version: int) -> None:
        """A reply has told the worker which version of the keys there is."""
        self._keys_told[name] = keys_version

    def _look(self, name: str, connection: int) -> bool | None:
        """True if there is something for it; None: it has not joined."""
        remembered = self._roster.find(name, connection)
        lanes = {} if remembered is None or not remembered.takes else remembered.lanes(0)
        closed = type_plans.closed_types(self._opening.plans)
        limits = self._opening.plans.limits_document()
        values: Sequence[object] = (connection, orjson.dumps(lanes).decode(), closed, limits, name)
        [rows] = self._database.read((_LOOK, values))
        if not rows or not rows[0][0]:
            return None
        _, keys_version, cancels, claims = rows[0]
        return bool(cancels or claims) or keys_version != self._keys_told.get(name, keys_version)
