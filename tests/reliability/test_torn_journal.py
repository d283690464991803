"""The journal as a crash of the machine leaves it: its WAL ends anywhere."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwards.counts import tally
from afterwards.lifecycle import Change, Task
from afterwards.registry.journal.base import Group
from afterwards.registry.journal.journal import SqliteJournal
from tests.registry.peers import make_task

TRANSACTIONS = 12


class Written:
    """A journal that was written to, and how long its WAL was after each transaction."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal.sqlite3"
        self.wal = directory / "journal.sqlite3-wal"
        self.tasks: list[Task] = []
        self.ends: list[int] = []
        journal = SqliteJournal(self.path)
        # Whatever comes from here on is in the WAL only.
        journal._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        for order in range(1, TRANSACTIONS + 1):
            # Of some length, so that transactions differ in their number of pages.
            task = make_task(order=order, payload=b"x" * 900 * order)
            changes = [Change(None, task)]
            journal.write(Group(changes, tally(changes)))
            self.tasks.append(task)
            self.ends.append(self.wal.stat().st_size)
        self.content = self.wal.read_bytes()
        shutil.copy(self.path, directory / "kept")
        self.kept = directory / "kept"
        journal.close()

    def opened_with(self, wal: bytes) -> tuple[list[Task], int, str]:
        """The start with this rest of the WAL: tasks, their count, soundness."""
        self.path.with_name("journal.sqlite3-shm").unlink(missing_ok=True)
        shutil.copy(self.kept, self.path)
        self.wal.write_bytes(wal)
        journal = SqliteJournal(self.path)
        try:
            contents = journal.load()
            submitted = Counter(contents.counts)["submitted", "note", ""]
            verdict = journal._writer.execute("PRAGMA integrity_check").fetchone()[0]
            return list(contents.unfinished), submitted, verdict
        finally:
            journal.close()

    def whole(self, length: int) -> list[Task]:
        """Tasks whose transactions are in so many bytes."""
        return [task for task, end in zip(self.tasks, self.ends, strict=True) if end <= length]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("torn"))


def cuts(written: Written) -> Iterator[int]:
    """Around the end of every transaction, and all over the rest."""
    for end in (0, *written.ends):
        yield from (cut for cut in (end - 1, end, end + 1) if 0 <= cut <= written.ends[-1])
    yield from range(0, written.ends[-1], 1_537)


def test_a_wal_cut_at_any_byte_opens_with_every_transaction_that_is_there(
    written: Written,
) -> None:
    for cut in cuts(written):
        tasks = written.whole(cut)
        assert written.opened_with(written.content[:cut]) == (tasks, len(tasks), "ok"), cut


def test_a_wal_that_ends_in_garbage_opens_with_every_transaction_before_it(
    written: Written,
) -> None:
    rng = random.Random(1)
    for cut in list(cuts(written))[::3]:
        tasks = written.whole(cut)
        torn = written.content[:cut] + rng.randbytes(len(written.content) - cut)
        assert written.opened_with(torn) == (tasks, len(tasks), "ok"), cut
