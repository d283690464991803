"""The journal: every task on disk, in one SQLite file, one transaction a group.

WAL with `synchronous=FULL`: when `write` returns, the group has been fsynced. One thread writes;
any thread may read, through a connection of its own that sees committed data only.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from afterwards.counts import Cell, Tally
from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import JournalError, JournalUnreadable
from afterwards.lifecycle import Task
from afterwards.logs import get_logger
from afterwards.registry.journal import (
    activity,
    due_tasks,
    encryption,
    failures,
    keys,
    listing,
    plans,
    removals,
    rescue,
    series_rows,
    task_rows,
    webhook_rows,
)
from afterwards.registry.journal.base import Contents, Group
from afterwards.registry.journal.batch import MARK, rest_of
from afterwards.registry.journal.columns import (
    COUNT_CHILDREN,
    PUT_PROBE,
    PUT_TRUSTED_TIME,
    SELECT_ATTEMPTS,
    SELECT_CHILDREN_SIZE,
    SELECT_HEADS,
    SELECT_TASK,
    SELECT_TRACEBACKS,
    SELECT_TRUSTED_TIME,
    id_of,
    key,
    lookup_key,
    mutable_columns,
    task_columns,
    to_attempt,
    to_task,
)
from afterwards.registry.journal.extent import Extent
from afterwards.registry.journal.file import (
    connect,
    inspect,
    paths_of,
    prepare,
    size_of_file,
    sync,
    sync_again,
    telling_damage,
    wal_path,
)
from afterwards.registry.journal.history import MOST_SHOWN, with_history
from afterwards.registry.journal.place import Place
from afterwards.registry.journal.reasons import reason_of
from afterwards.registry.journal.resealing import Resealing, Step
from afterwards.registry.journal.rows import rows_of
from afterwards.registry.journal.sealed_rows import SealedRows
from afterwards.registry.journal.sealing import Unsealable, is_sealed
from afterwards.registry.journal.transaction import transaction
from afterwards.registry.journal.unsealed import Opener
from afterwards.registry.protocol.activity import ActivityPage
from afterwards.registry.protocol.answers import Counted, Details, DueTask, ErrorPage, Page
from afterwards.registry.protocol.requests import Activity, Count, Errors, Find, Members
from afterwards.webhooks.notice import Notice

log = get_logger(__name__)

RETENTION_STEP_ROWS: Final = 1_000


class SqliteJournal:
    """The journal in a SQLite file.

    Args:
        path: the file; made with its tables if it is not there.
        check: look for corruption first (`PRAGMA quick_check`), which reads the whole file.
        keys: what its values are sealed with, and opened.

    Raises:
        JournalError: the file is no journal, of a later version, or damaged, or a key is missing;
            it is left as it was.
    """

    durable = True

    def __init__(
        self, path: Path, *, check: bool = True, keys: EncryptionKeys | None = None
    ) -> None:
        self._path = path
        self._read_lock = threading.Lock()
        self._scan_lock = threading.Lock()
        self._cut: Path | None = None
        """A file that was cut short; it will never be whole again."""
        try:
            inspect(path, check=check)
            sync_again(path)
            with contextlib.ExitStack() as opened, telling_damage(path):
                self._writer = opened.enter_context(closing(connect(path)))
                prepare(self._writer)
                self._adopt(keys or EncryptionKeys())
                self._reader = opened.enter_context(closing(connect(path, mode="ro")))
                self._scanner = opened.enter_context(closing(connect(path, mode="ro")))
                # They open the WAL with their first read, which fails if the file has no name then.
                for reading in (self._reader, self._scanner):
                    reading.execute("SELECT one FROM probe").fetchone()
                self._failures = self._attach_openers()
                sync(path.parent)
                self._place = Place(path)
                self._extent = Extent(path)
                opened.pop_all()
        except sqlite3.Error as error:
            raise JournalError(str(path), str(error)) from None
        except OSError as error:
            raise JournalError(str(path), _problem(error)) from None

    def _adopt(self, keys: EncryptionKeys) -> None:
        found = encryption.adopt(self._writer, keys, self._path)
        self._seal = None if found is None else found.seal
        self._secret = b"" if found is None else found.secret
        self._sealed = None if self._seal is None else SealedRows(self._seal)
        self._resealing = None if self._seal is None else Resealing(self._writer, self._seal)
        self._inserted = task_columns if self._sealed is None else self._sealed.inserted
        self._updated = mutable_columns if self._sealed is None else self._sealed.updated

    def _attach_openers(self) -> failures.Failures:
        self._openers: dict[bool, Opener] = {}
        if self._seal is not None:
            for scanning, connection in ((False, self._reader), (True, self._scanner)):
                self._openers[scanning] = Opener(self._seal)
                self._openers[scanning].attach(connection)
        try:
            return failures.load(self._reader, self._secret)
        except sqlite3.Error:
            opener = self._openers.get(False)
            problem = None if opener is None else opener.take_problem()
            if problem is None:
                raise
            raise JournalError(str(self._path), problem) from None

    # -- writing -------------------------------------------------------------------------------

    def write(self, group: Group) -> None:
        db = self._writer
        rows = rows_of(group.changes)
        if self._sealed is not None:
            rows = self._sealed.rows(rows, group.changes)
        errors = None
        with transaction(db, str(self._path)):
            task_rows.write(db, rows, group.at, self._inserted, self._updated)
            if rows.failed or rows.unfailed:
                errors = failures.write(db, self._failures, rows.failed, rows.unfailed, self._seal)
            self._write_counts(group.counts)
            self._write_what_else(group)
        if errors is not None:
            self._failures.committed(errors)
        if group.resealed is not None and self._resealing is not None:
            self._resealing.committed(db, group.resealed)

    def _write_what_else(self, group: Group) -> None:
        db = self._writer
        if group.plans is not None:
            plans.write(db, group.plans, self._seal)
        if group.series is not None:
            series_rows.write(db, group.series)
        if group.activity or group.overdue_activity:
            activity.write(db, group.activity, group.overdue_activity, self._seal)
        if group.keys is not None:
            keys.write(db, group.keys)
        if group.removals or group.removed:
            removals.write(db, group.removals, group.removed)
        if group.webhooks is not None:
            webhook_rows.write(db, group.webhooks, self._seal)
        if group.resealed is not None and self._resealing is not None:
            self._resealing.write(db, group.resealed)
        self._write_times(group)

    def _write_times(self, group: Group) -> None:
        db = self._writer
        if group.probe:
            db.execute(PUT_PROBE, (group.at,))
        if group.trusted_at is not None:
            db.execute(PUT_TRUSTED_TIME, (group.trusted_at,))
        if group.forget_deleted_before is not None:
            db.execute("DELETE FROM deleted WHERE at < ?", (group.forget_deleted_before,))

    def _write_counts(self, counts: Mapping[Cell, int]) -> None:
        self._writer.executemany(
            "INSERT INTO counts VALUES (?, ?, ?, ?) ON CONFLICT (counter, type, label) "
            "DO UPDATE SET number = number + excluded.number",
            [(c, t, str.__str__(label), number) for (c, t, label), number in counts.items()],
        )

    # -- reading -------------------------------------------------------------------------------

    def load(self) -> Contents:
        db = self._writer
        rows = db.execute("SELECT counter, type, label, number FROM counts")
        counts: Tally = Counter({(c, t, label): number for c, t, label, number in rows})
        last = db.execute("SELECT ord, created_at FROM tasks ORDER BY ord DESC LIMIT 1").fetchone()
        order, created_at = last or (0, 0.0)
        with self._reading() as reader:
            planned = plans.load(reader)
            told = webhook_rows.load(reader)
        # An earlier version has noted none.
        (trusted_at,) = db.execute(SELECT_TRUSTED_TIME).fetchone() or (created_at,)
        return Contents(
            self._unfinished(),
            counts,
            planned,
            order + 1,
            created_at,
            trusted_at,
            keys.load(db),
            told,
        )

    def _unfinished(self) -> Iterator[Task]:
        with self._reading() as db:
            yield from map(to_task, db.execute(listing.SELECT_UNFINISHED))

    def read(self, task_id: str) -> Task | None:
        found = self._query(f"{SELECT_TASK} WHERE id = ?", (lookup_key(task_id),))
        return to_task(found[0]) if found else None

    def read_by_key(self, idempotency_key: str) -> Task | None:
        found = self._query(f"{SELECT_TASK} WHERE idempotency_key = ?", (idempotency_key,))
        return to_task(found[0]) if found else None

    def due_tasks(self, schedules: Sequence[str]) -> dict[str, list[DueTask]]:
        with self._reading() as db:
            return {name: due_tasks.stored(db, name) for name in schedules}

    def rest_of_batch(self, first: Task) -> list[str]:
        with self._reading() as db:
            rows = db.execute(
                "SELECT id FROM tasks WHERE idempotency_key > ? AND idempotency_key < ?",
                rest_of(first) or (None, None),
            )
            return [id_of(raw) for (raw,) in rows]

    def children_of(self, task_id: str) -> tuple[int, int]:
        [(number, size)] = self._query(SELECT_CHILDREN_SIZE, (task_id,))
        return cast("int", number), cast("int", size)

    def members(self, query: Members) -> Page:
        with self._reading() as db:
            return listing.members(db, query)

    def was_deleted(self, task_id: str) -> bool:
        return bool(self._query("SELECT 1 FROM deleted WHERE id = ?", (lookup_key(task_id),)))

    def details(self, task_id: str, *, tracebacks: bool = False) -> Details | None:
        with self._snapshot() as db:
            row = db.execute(f"{SELECT_TASK} WHERE id = ?", (lookup_key(task_id),)).fetchone()
            if row is None:
                return None
            task = to_task(row)
            latest = f"{SELECT_ATTEMPTS} WHERE ord = ? ORDER BY attempt DESC LIMIT {MOST_SHOWN}"
            ended = [to_attempt(row) for row in db.execute(latest, (task.order,))]
            if tracebacks:
                told = dict(db.execute(SELECT_TRACEBACKS, (task.order,)))
                ended = [one._replace(traceback=told.get(one.attempt)) for one in ended]
            (children,) = db.execute(COUNT_CHILDREN, (task_id,)).fetchone()
        return with_history(task, ended[::-1], children)

    def find(self, query: Find) -> Page:
        with self._snapshot(scanning=listing.scans(query)) as db:
            return listing.find(db, query)

    def count(self, query: Count) -> Counted:
        # Always: how long it takes to count what an index knows is not bounded, either.
        with self._snapshot(scanning=True) as db:
            return listing.count(db, query)

    def activity(self, query: Activity) -> ActivityPage:
        with self._reading() as db:
            return activity.page(db, query)

    def overdue_activity(self, before: float) -> list[int]:
        with self._reading() as db:
            return activity.overdue(db, before)

    def errors(self, query: Errors, now: float) -> ErrorPage:
        # A look for each group, so that other reads come in between.
        found = [
            group._replace(sample_ids=self._newest_of(group.id))
            for group in self._failures.page(query, now)
        ]
        return self._failures.answer(found)

    def _newest_of(self, error: str) -> list[str]:
        rows = self._query(failures.SELECT_SAMPLES, (bytes.fromhex(error),))
        return [id_of(cast("bytes", raw)) for (raw,) in rows]

    def notices(self, receiver: str, after: int, limit: int) -> list[Notice]:
        with self._reading() as db:
            return webhook_rows.notices(db, receiver, after, limit)

    def overdue(self, finished_before: float, after_order: int) -> tuple[list[Task], int | None]:
        # By order, not by an index on the time of finishing: tasks are finished in about the order
        # in which they came, and every index is paid for by every task.
        rows = self._query(
            f"{SELECT_HEADS} WHERE ord > ? ORDER BY ord LIMIT ?",
            (after_order, RETENTION_STEP_ROWS),
        )
        tasks = [to_task(row) for row in rows]
        overdue = [
            task
            for task in tasks
            if task.finished_at
            and task.finished_at < finished_before
            and not self._is_needed(task, finished_before)
        ]
        if len(tasks) < RETENTION_STEP_ROWS or _is_recent(tasks[-1], finished_before):
            return overdue, None
        return overdue, tasks[-1].order

    def series(self, key: series_rows.Key, last: int) -> series_rows.Found:
        with self._reading() as db:
            return series_rows.of_type(db, key, last)

    def series_at(self, step: int, at: int) -> Mapping[str, bytes]:
        return series_rows.of_time(self._writer, step, at)

    def latest_series(self, step: int) -> tuple[int, bytes] | None:
        return series_rows.latest(self._writer, step)

    def to_remove(self, after: str) -> list[removals.Removal]:
        with self._reading() as db:
            return removals.some(db, after)

    def to_reseal(self) -> Step | None:
        if self._resealing is None or not self._resealing.left:
            return None
        with self._snapshot(scanning=True) as db:
            return self._resealing.step(db)

    def left_to_reseal(self) -> int:
        return 0 if self._resealing is None else self._resealing.left

    def size_bytes(self) -> int:
        return sum(map(size_of_file, paths_of(self._path)))

    def wal_bytes(self) -> int:
        return size_of_file(wal_path(self._path))

    def astray(self, *, by_names: bool = False) -> Path | None:
        if self._cut is None:
            moved = self._place.astray(unless_settled=by_names)
            if moved is not None or by_names:
                return moved
            self._cut = self._extent.cut()
        return self._cut

    def safeguard(self, path: Path) -> str:
        if self._cut is not None:
            return rescue.replace(self._writer, self._path)
        if path == self._path:
            return rescue.ADVICE
        return rescue.move_into_file(self._writer)

    def _is_needed(self, task: Task, finished_before: float) -> bool:
        """True if the task has the key of a batch with tasks that are kept."""
        rest = rest_of(self._with_open_fingerprint(task))
        return rest is not None and bool(
            self._query(
                "SELECT 1 FROM tasks WHERE idempotency_key > ? AND idempotency_key < ? "
                "AND (finished_at IS NULL OR finished_at >= ?) LIMIT 1",
                (*rest, finished_before),
            )
        )

    def _with_open_fingerprint(self, head: Task) -> Task:
        if self._seal is None or not is_sealed(head.fingerprint):
            return head
        try:
            opened = self._seal.open(head.fingerprint, key(head.id), "fingerprint")
        except Unsealable:
            # It may be a batch's: one that nobody can read must not end the retention of all.
            opened = MARK
        return replace(head, fingerprint=cast("bytes", opened))

    def _query(self, sql: str, values: Iterable[object]) -> list[tuple[object, ...]]:
        with self._reading() as db:
            return db.execute(sql, tuple(values)).fetchall()

    @contextlib.contextmanager
    def _reading(self, *, scanning: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection that reads. For a moment: an open read keeps the WAL from being reset.

        Args:
            scanning: the one for what takes longer, so that no other read waits for that.
        """
        lock, connection = self._read_lock, self._reader
        if scanning:
            lock, connection = self._scan_lock, self._scanner
        try:
            with lock:
                yield connection
        except sqlite3.Error as error:
            opener = self._openers.get(scanning)
            problem = None if opener is None else opener.take_problem()
            reason = problem or reason_of(error, str(self._path))
            raise JournalUnreadable(reason, str(self._path)) from error

    @contextlib.contextmanager
    def _snapshot(self, *, scanning: bool = False) -> Iterator[sqlite3.Connection]:
        """The same in one transaction: several statements that see one moment."""
        with self._reading(scanning=scanning) as db:
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("ROLLBACK")

    def close(self) -> None:
        with self._read_lock, self._scan_lock:
            self._rescue()
            # The last that may write moves the WAL into the file, as it should unless it was cut.
            ends = [self._scanner, self._reader, self._writer]
            for connection in ends if self._cut is None else reversed(ends):
                connection.close()
            self._extent.close()

    def _rescue(self) -> None:
        """Do what can be done only now, or was not seen to be necessary before."""
        was_cut = self._cut is not None
        path = self.astray()
        if path is None or was_cut:
            return
        if self._cut is not None:
            log.critical(
                "a file of the journal was cut short", path=str(path), todo=self.safeguard(path)
            )
        elif path == self._path:
            rescue.save(self._reader, path)


def _problem(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{reason} ({error.filename})"
    # Of a descriptor: all that is done with those is to sync what they hold.
    return f"what it holds cannot be synced: {reason}"


def _is_recent(task: Task, moment: float) -> bool:
    """True if the tasks after this one cannot have been finished before `moment`."""
    # After the clock was set back tasks are finished long before they say they were created.
    finished_at = moment if task.finished_at is None else task.finished_at
    return task.created_at >= moment and finished_at >= moment
