"""Journals that are full already: written by the service's own journal, without a service.

Another checkout's service gets one that its own code has written (`fill_by`): its journal may have
another version.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from afterwards.counts import tally
from afterwards.lifecycle import Change, Task
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.journal import SqliteJournal
from loadtests.errors import LoadTestError
from loadtests.servers import PROGRAM

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


def fill_by(program: Path, directory: Path, number: int, *, finished: bool = True) -> list[str]:
    """The same, by the code of the checkout that a command `.venv/bin/afterwards` belongs to.

    Raises:
        LoadTestError: it cannot.
    """
    if program == PROGRAM:
        return fill(directory, number, finished=finished)
    python = program.with_name("python")
    words = [str(directory.absolute()), str(number), "finished" if finished else "submitted"]
    done = subprocess.run(
        [python, "-m", "loadtests.bench.stock", *words],
        cwd=program.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LoadTestError(f"{program.parents[2]} cannot write a journal: {done.stderr[-500:]}")
    task_ids: list[str] = json.loads(done.stdout)
    return task_ids


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


if __name__ == "__main__":
    where, how_many, state = sys.argv[1:]
    sys.stdout.write(json.dumps(fill(Path(where), int(how_many), finished=state == "finished")))
