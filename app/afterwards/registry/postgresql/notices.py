"""Notices that something is to be looked at: heard in this process at once, by others by NOTIFY.

NOTIFY takes a lock over the whole server until its transaction ends, so it never is a part of one
that writes tasks. It follows the commit, in a statement of its own, once for all that has gathered.
A notice can be lost (a pooler, a broken connection): everything is looked at every second anyway.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg

from afterwards.errors import JournalUnavailable
from afterwards.lifecycle import TaskState
from afterwards.logs import get_logger
from afterwards.registry.postgresql.database import Conflict, Database, DatabaseUnreachable
from afterwards.registry.postgresql.working_set import WorkingSet

log = get_logger(__name__)

POLL_SECONDS: Final = 1.0
"""So often everybody looks, told or not."""
_GATHER_SECONDS: Final = 0.005
_CHANNEL: Final = "afterwards"

CLAIMS: Final = "claims"
"""Something may be claimed."""
EVENTS: Final = "events"
KEYS: Final = "keys"
DUE: Final = "due"
"""Something has become due sooner than the leader may think."""


def of_worker(name: str) -> str:
    """The topic of a worker: a cancellation, or its end."""
    return f"worker {name}"


@dataclass
class Wake:
    """The topics that a transaction is about."""

    topics: set[str] = field(default_factory=set)

    @classmethod
    def after(cls, working: WorkingSet) -> Wake:
        """The topics that others have to look at once this is committed."""
        wake = cls()
        store = working.store
        limited = {*working.plans.limits}
        for change in store.changes:
            task = change.task
            if change.new is None:
                continue
            wake.topics.add(EVENTS)
            if task.state is TaskState.SCHEDULED:
                wake.topics.add(DUE)
            ended = change.outcome is not None
            if ended and (task.concurrency_key is not None or task.type in limited):
                wake.topics.add(CLAIMS)
            if task.cancel_requested and task.worker is not None:
                wake.topics.add(of_worker(task.worker))
            if task.deadline is not None and change.old is None:
                wake.topics.add(DUE)
        rules = working.rules
        if rules.schedules.has_changed or rules.deliveries.changes() is not None:
            wake.topics.add(DUE)
        if rules.keys.version > working.entry.keys_version:
            wake.topics.add(KEYS)
        if working.unclaimed or any(
            task.state is TaskState.PENDING for task in store.gathered(finished=False)
        ):
            wake.topics.add(CLAIMS)
        return wake


class Notices:
    """Counts how often each topic was told of, and lets threads wait for more.

    Args:
        origin: names this process; its own notices are not heard twice.
    """

    def __init__(self, database: Database, origin: str) -> None:
        self._database = database
        self._origin = origin
        self._told: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._unsent: set[str] = set()
        self._closed = False
        self._threads = [
            threading.Thread(target=target, name=f"notices-{name}", daemon=True)
            for name, target in (("out", self._send), ("in", self._listen))
        ]

    def start(self) -> None:
        """Begin to listen."""
        for thread in self._threads:
            thread.start()

    def tell(self, topics: Iterable[str]) -> None:
        """Have everybody look, here and elsewhere."""
        told = set(topics)
        if not told:
            return
        with self._changed:
            self._told.update(told)
            self._unsent |= told
            self._changed.notify_all()

    def numbers(self, topics: Sequence[str]) -> tuple[int, ...]:
        """The number of times that each was told of; for `wait`."""
        with self._changed:
            return self._numbers(topics)

    def wait(self, topics: Sequence[str], seen: tuple[int, ...], seconds: float) -> bool:
        """Wait until one of them was told of since `seen`; False: it was not."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._numbers(topics) != seen, max(0.0, seconds)
            )
            return self._numbers(topics) != seen

    @property
    def closed(self) -> bool:
        """True if there will be no more of them."""
        return self._closed

    def close(self) -> None:
        """Wait for nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _numbers(self, topics: Sequence[str]) -> tuple[int, ...]:
        # What is polled is told of by an empty topic.
        return (self._told[""], *(self._told[topic] for topic in topics))

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._unsent)
                if self._closed:
                    return
                topics, self._unsent = self._unsent, set()
            payloads = [f"{self._origin} {topic}" for topic in topics]
            sql = f"SELECT pg_notify('{_CHANNEL}', t) FROM unnest(%s::text[]) AS t"
            try:
                with self._database.transaction() as transaction:
                    transaction.commit([(sql, (payloads,))])
            except (Conflict, DatabaseUnreachable, JournalUnavailable) as error:
                # Others look within a second all the same.
                log.debug("others cannot be told", error=str(error))
            time.sleep(_GATHER_SECONDS)

    def _listen(self) -> None:
        while not self._closed:
            try:
                connection = self._database.connect()
            except DatabaseUnreachable as error:
                log.debug("cannot listen", error=str(error))
                self._poll(POLL_SECONDS)
                continue
            with connection:
                try:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self._hear(connection)
                except psycopg.Error as error:
                    log.debug("cannot listen any more", error=str(error))

    def _hear(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        polled_at = time.monotonic()
        while not self._closed:
            heard = set()
            for notice in connection.notifies(timeout=_LISTEN_SECONDS, stop_after=1):
                origin, _, topic = notice.payload.partition(" ")
                if origin != self._origin:
                    heard.add(topic)
            with self._changed:
                if heard:
                    self._told.update(heard)
                    self._changed.notify_all()
            if time.monotonic() - polled_at >= POLL_SECONDS:
                polled_at = time.monotonic()
                self._poll(0.0)

    def _poll(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)
            self._told[""] += 1
            self._changed.notify_all()


_LISTEN_SECONDS: Final = 0.2
"""So long the end of this may take."""
