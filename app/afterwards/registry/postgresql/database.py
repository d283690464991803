"""Connections to the database, and transactions over them in as few round trips as can be."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg
from psycopg import errors

from afterwards.errors import JournalUnavailable
from afterwards.logs import get_logger

log = get_logger(__name__)

Statement = tuple[str, Sequence[Any]]
"""SQL, and the values of its placeholders."""
Rows = list[tuple[Any, ...]]

_DEFAULTS: Final = {
    "application_name": "afterwards",
    "connect_timeout": "5",
    # A partition is noticed before the lease of those behind it ends.
    "keepalives_idle": "3",
    "keepalives_interval": "2",
    "keepalives_count": "2",
    "tcp_user_timeout": "7000",
}
# From the first time on: of a statement that was executed before it is prepared, psycopg does not
# learn that its preparation failed with its transaction.
_PREPARED_AFTER: Final = 0
# Plans go by statistics, which a table that has just been filled does not have; without an index
# nothing here is ever fast. Plans without one look so expensive that each would be compiled (JIT),
# for longer than it runs. A process that stops within a transaction must not hold up all others.
# What is answered is on the disk, whatever the server's default is.
_SETTINGS: Final = """
SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true),
    set_config('idle_in_transaction_session_timeout', '5s', true),
    set_config('synchronous_commit', coalesce(
        nullif(current_setting('synchronous_commit'), 'off'), 'on'), true)
"""
_BEGIN: Final[Sequence[Statement]] = [
    ("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", ()),
    (_SETTINGS, ()),
]
# A page is read in the order of an index, and no further; a plan that sorts reads all that match.
_IN_ORDER: Final = """
SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)
"""
_BEGIN_SNAPSHOT: Final[Sequence[Statement]] = [
    ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ()),
    (_SETTINGS, ()),
    (_IN_ORDER, ()),
]
_COMMIT: Final[Statement] = ("COMMIT", ())


class DatabaseUnreachable(ConnectionError):
    """The connection broke, or none can be made. What was sent last may be carried out."""


class Conflict(Exception):
    """Another transaction came first; nothing of this one is written, and it may be repeated."""


class Transaction:
    """One transaction: some trips that read and lock, and a last one that writes and commits."""

    def __init__(
        self, connection: psycopg.Connection[Any], begin: Sequence[Statement] = _BEGIN
    ) -> None:
        self._connection = connection
        self._begin = begin
        self._begun = False
        self.trips = 0

    def run(self, statements: Sequence[Statement]) -> list[Rows]:
        """Execute statements in one round trip; the rows of each."""
        before = () if self._begun else self._begin
        self._begun = True
        return self._send([*before, *statements])[len(before) :]

    def commit(self, statements: Sequence[Statement] = ()) -> None:
        """The last round trip: write, and commit."""
        if self._begun or statements:
            self.run_and_commit(statements)

    def run_and_commit(self, statements: Sequence[Statement]) -> list[Rows]:
        """Execute statements and commit, in one round trip; the rows of each."""
        found = self.run([*statements, _COMMIT])
        self._begun = False
        return found[:-1]

    def roll_back(self) -> None:
        """End it without a trace."""
        if self._begun:
            self._begun = False
            self._connection.execute("ROLLBACK")

    def _send(self, statements: Sequence[Statement]) -> list[Rows]:
        self.trips += 1
        execute = self._connection.execute
        with self._connection.pipeline():
            cursors = [execute(sql, values) for sql, values in statements]
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]


class Database:
    """A few connections to one database, made when they are needed. From any thread.

    Args:
        url: as libpq has them, `postgresql://user@host/name`.
        size: the most connections that are kept when they are idle.
    """

    def __init__(self, url: str, size: int = 4) -> None:
        # It warns of what it raises as well.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
        self._parameters: dict[str, Any] = {**_DEFAULTS, **psycopg.conninfo.conninfo_to_dict(url)}
        self._size = size
        self._idle: list[psycopg.Connection[Any]] = []
        self._lock = threading.Lock()
        self._closed = False

    @property
    def place(self) -> str:
        """Its name and address for messages, without a password."""
        parameters = self._parameters
        host, port = parameters.get("host", "localhost"), parameters.get("port", "5432")
        return f"database {parameters.get('dbname', '')} at {host}:{port}"

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of the caller's own, for it to close.

        Raises:
            DatabaseUnreachable: there is none to be had.
        """
        try:
            return psycopg.connect(
                **self._parameters, autocommit=True, prepare_threshold=_PREPARED_AFTER
            )
        except psycopg.Error as error:
            raise DatabaseUnreachable(f"{self.place}: {_first_line(error)}") from error

    def read(self, *statements: Statement) -> list[Rows]:
        """Execute statements that only read, at one moment and in one round trip; the rows of each.

        Raises:
            JournalUnavailable: the database refuses to read.
            DatabaseUnreachable: it cannot be asked.
        """
        with self.transaction(snapshot=True) as transaction:
            return transaction.run_and_commit(statements)

    @contextlib.contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Transaction]:
        """One transaction. It is committed when the block ends, and rolled back if that raises.

        Args:
            snapshot: it only reads, and all of it at one moment.

        Raises:
            Conflict: another one came first.
            JournalUnavailable: the database refuses to read or write; nothing is written.
            DatabaseUnreachable: the connection broke; whether it is written is not known.
        """
        connection = self._take()
        transaction = Transaction(connection, _BEGIN_SNAPSHOT if snapshot else _BEGIN)
        try:
            yield transaction
            # Not a rollback, after which psycopg would prepare everything anew.
            transaction.commit()
        except psycopg.Error as error:
            raise self._translated(error, connection, transaction) from error
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                transaction.roll_back()
            raise
        finally:
            self._give_back(connection)

    def _translated(
        self,
        error: psycopg.Error,
        connection: psycopg.Connection[Any],
        transaction: Transaction,
    ) -> Exception:
        if not connection.broken and not connection.closed:
            # If this breaks it, nothing of the transaction is written all the same.
            with contextlib.suppress(psycopg.Error):
                transaction.roll_back()
        if connection.broken or connection.closed or error.sqlstate is None:
            return DatabaseUnreachable(f"{self.place}: {_first_line(error)}")
        if isinstance(
            error,
            errors.UniqueViolation | errors.DeadlockDetected | errors.SerializationFailure,
        ):
            return Conflict(_first_line(error))
        if error.sqlstate[:2] in _REFUSALS:
            return JournalUnavailable(_first_line(error), self.place)
        return error

    def close(self) -> None:
        """Close all connections that are idle, and each other one when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> psycopg.Connection[Any]:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self.connect()

    def _give_back(self, connection: psycopg.Connection[Any]) -> None:
        if not connection.closed and not connection.info.transaction_status:
            with self._lock:
                if not self._closed and len(self._idle) < self._size:
                    self._idle.append(connection)
                    return
        connection.close()


_REFUSALS: Final = frozenset({"25", "53", "54", "55", "57", "58", "0A", "XX", "42"})
"""Classes of errors that are the server's: no room, read-only, shutting down, or not as it was."""


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
