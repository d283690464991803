"""Journals that are full already: written by the service's own journal, without a service."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from afterwards.counts import tally
from afterwards.lifecycle import Change, Task
from afterwards.registry.journal.journal import Group, SqliteJournal

FILE_NAME: Final = "journal.sqlite3"
_GROUP_TASKS: Final = 10_000
_PAYLOAD: Final = b'{"email":"johndoe@example.com","message":"Your submission was received."}'
_RESULT: Final = b'{"message":"Notification sent"}'
_IDS_KEPT: Final = 100_000


def fill(directory: Path, number: int, *, finished: bool = True) -> list[str]:
    """Add so many notifications to the journal of a data directory, made if it is not there.

    Args:
        directory: of no running service.
        number: how many.
        finished: with success; else they have just been submitted.

    Returns:
        Ids among the new ones, chosen at random: all of them, or 100,000.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    task_ids: list[str] = []
    with contextlib.closing(SqliteJournal(directory / FILE_NAME, check=False)) as journal:
        order = journal.load().next_order
        for first in range(order, order + number, _GROUP_TASKS):
            last = min(first + _GROUP_TASKS, order + number)
            changes = [change for n in range(first, last) for change in _life(n, finished)]
            task_ids += [change.task.id for change in changes if change.old is None]
            journal.write(Group(changes, tally(changes)))
    return random.sample(task_ids, min(number, _IDS_KEPT))


def _life(order: int, finished: bool) -> Iterator[Change]:
    now = time.time()
    new = Task(
        id=str(uuid.uuid4()),
        type="notification",
        payload=_PAYLOAD,
        executor="async",
        created_at=now,
        run_at=now,
        order=order,
    )
    yield Change(None, new)
    if finished:
        claimed = new.claim("stock", now)
        yield Change(new, claimed)
        yield Change(claimed, claimed.succeed(1, _RESULT, now), "success", 0.0)


def copy(stock: Path, data_dir: Path) -> None:
    """Give a service that has not started yet the journal of a stock, on disk and at rest."""
    data_dir.mkdir(mode=0o700, parents=True)
    for file in stock.iterdir():
        shutil.copyfile(file, data_dir / file.name)
        # Else the kernel writes it while the service is measured.
        with (data_dir / file.name).open("rb") as copied:
            os.fsync(copied.fileno())
