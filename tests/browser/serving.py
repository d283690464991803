"""Services whose dashboards are opened, with the task types of `work.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.conftest import Service


@contextmanager
def serving(directory: Path, token: str = "", **settings: str) -> Iterator[Service]:
    """A running service with one worker, unless the settings say otherwise.

    Args:
        token: of an administrator's key, which the service begins with; empty: it needs none.
    """
    if token:
        first = directory / "first_key"
        first.write_text(token)
        first.chmod(0o600)
        settings = {**settings, "first_key_file": str(first)}
    running = Service(directory, **{"workers": "1", "task_modules": "work", **settings})
    running.directory = Path(__file__).parent
    if token:
        running.client.headers["Authorization"] = f"Bearer {token}"
    try:
        running.start()
        yield running
    finally:
        running.kill_everything()
        running.client.close()
