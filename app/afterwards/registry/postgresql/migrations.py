"""Bringing a database to this version: in one transaction, by one process at a time."""

from __future__ import annotations

from typing import Any, Final

from psycopg import Connection

from afterwards.errors import ConfigurationError
from afterwards.logs import get_logger
from afterwards.registry.postgresql.schema import MIGRATIONS, VERSION

log = get_logger(__name__)

OLDEST_SERVER: Final = 14
"""The oldest PostgreSQL that this is tested with."""

MIGRATION_LOCK: Final = 0x61667465
"""The advisory lock of migrations. It is held to the end of a transaction, so that it works behind
poolers."""


def migrate(db: Connection[Any]) -> None:
    """Make or migrate the tables, unless they are of this version.

    Raises:
        ConfigurationError: the database is of a later version of the service, or its server too
            old.
    """
    major = db.info.server_version // 10_000
    if major < OLDEST_SERVER:
        problem = f"PostgreSQL {OLDEST_SERVER} or later is needed, and the server has {major}"
        raise ConfigurationError("AFTERWARDS_REGISTRY", problem)
    if _version(db) == VERSION:
        return
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        # Another process may have done it meanwhile.
        before = _version(db)
        if before > VERSION:
            problem = (
                f"the database has version {before} of the tables, and this service knows "
                f"{VERSION}: it was used by a later version of Afterwards"
            )
            raise ConfigurationError("AFTERWARDS_REGISTRY", problem)
        for version in range(before + 1, VERSION + 1):
            # Not prepared: it is many statements.
            db.execute(MIGRATIONS[version], prepare=False)
            db.execute("UPDATE afterwards.version SET number = %s", (version,))
            log.info("database migrated", version=version)


def _version(db: Connection[Any]) -> int:
    """The version of the tables; 0: there are none. Within a transaction, they can be made."""
    row = db.execute("SELECT to_regclass('afterwards.version')").fetchone()
    if row is None or row[0] is None:
        if not db.info.transaction_status:
            return 0
        db.execute("CREATE SCHEMA IF NOT EXISTS afterwards")
        db.execute("CREATE TABLE afterwards.version (number int NOT NULL)")
        db.execute("INSERT INTO afterwards.version VALUES (0)")
        return 0
    found = db.execute("SELECT number FROM afterwards.version").fetchone()
    return 0 if found is None else int(found[0])
