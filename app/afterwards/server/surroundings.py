"""The environment variables for gunicorn, checked before gunicorn is imported."""

from __future__ import annotations

import os
from typing import Final

from afterwards.errors import ConfigurationError

_GUNICORN: Final = "GUNICORN_"
_WORKERS: Final = "WEB_CONCURRENCY"


def require_own_surroundings() -> None:
    """Refuse variables with which somebody wants to configure gunicorn, or has started another.

    gunicorn takes some of them for its own, past the settings: its arguments, or the master it is
    to replace.

    Raises:
        ConfigurationError: there is such a variable.
    """
    for name in sorted(os.environ):
        if name.startswith(_GUNICORN):
            problem = "gunicorn's own settings are not the service's; unset it"
            raise ConfigurationError(name, problem)
    # Platforms set it; gunicorn reads it when it is imported, and cannot be when it is no number.
    workers = os.environ.get(_WORKERS, "1")
    if not (workers.isascii() and workers.isdigit()):
        problem = f"must be a number (got {workers!r}); or unset it, and set AFTERWARDS_WORKERS"
        raise ConfigurationError(_WORKERS, problem)
