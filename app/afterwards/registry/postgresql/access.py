"""A worker's way to the registry in PostgreSQL, and the look at the database before that."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
from psycopg import errors

from afterwards.errors import ConfigurationError
from afterwards.registry.postgresql.database import Database, DatabaseUnreachable
from afterwards.registry.postgresql.migrations import migrate
from afterwards.registry.postgresql.registry import PostgresqlRegistry
from afterwards.registry.postgresql.retention import Ages
from afterwards.registry.protocol.base import Registry
from afterwards.registry.state.acceptance import Limits


class Link:
    """One registry for all threads of a worker, made once its database can be reached.

    Args:
        url: of the database, with its password.
        service: whose worker this is.
        ages: how long what is over is kept.
        opened: is given the registry before anybody else is.
    """

    def __init__(
        self,
        url: str,
        service: str,
        limits: Limits,
        ages: Ages,
        opened: Callable[[Registry], None],
    ) -> None:
        self._url = url
        self._service = service
        self._limits = limits
        self._ages = ages
        self._opened = opened
        self._registry: PostgresqlRegistry | None = None
        self._lock = threading.Lock()

    def connect(self) -> Registry:
        """The registry.

        Raises:
            DatabaseUnreachable: the database cannot be reached now.
        """
        with self._lock:
            if self._registry is None:
                registry = PostgresqlRegistry(
                    self._url,
                    self._service,
                    self._limits,
                    ages=self._ages,
                )
                try:
                    self._opened(registry)
                except BaseException:
                    registry.close()
                    raise
                self._registry = registry
            return self._registry

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            registry, self._registry = self._registry, None
        if registry is not None:
            registry.close()


def prepare(url: str, setting: str) -> None:
    """See that the database can be used, and make its tables or bring them up to date.

    Args:
        setting: the setting that names the database, for messages.

    Raises:
        ConfigurationError: it cannot be reached, gives too few rights, or belongs to a later
            version of this service.
    """
    database = Database(url)
    try:
        with database.connect() as connection:
            migrate(connection)
    except DatabaseUnreachable as error:
        raise ConfigurationError(setting, str(error)) from None
    except errors.InsufficientPrivilege as error:
        problem = (
            f"{database.place}: {_first_line(error)}; the service makes the schema `afterwards`, "
            "which takes: GRANT CREATE ON DATABASE … TO …"
        )
        raise ConfigurationError(setting, problem) from None
    except psycopg.Error as error:
        raise ConfigurationError(setting, f"{database.place}: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
