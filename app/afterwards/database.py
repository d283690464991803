"""The start of a service with its registry in PostgreSQL: can the database be used?"""

from __future__ import annotations

import importlib
from importlib.util import find_spec

from afterwards.errors import ConfigurationError
from afterwards.settings import Settings


def require_database(settings: Settings) -> None:
    """See that the database can be used, if there is to be one, and make its tables. Blocks.

    Raises:
        ConfigurationError: the packages are not installed, or the database cannot be used.
    """
    if not settings.in_database:
        return
    name = settings.name_of("registry")
    if find_spec("psycopg") is None:
        problem = "needs packages that are not installed: pip install 'afterwards[postgresql]'"
        raise ConfigurationError(name, problem)
    if settings.journal_keys().text.strip():
        problem = "the registry in PostgreSQL encrypts nothing; leave it out, or encrypt its disk"
        raise ConfigurationError(settings.name_of("encryption_keys"), problem)
    # By name: a service without a database loads nothing of it.
    access = importlib.import_module("afterwards.registry.postgresql.access")
    access.prepare(settings.database(), name)
