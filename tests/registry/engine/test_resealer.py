"""A changed key reaches stored tasks beside the work, whatever happens to the process meanwhile."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from afterwards.errors import JournalUnreadable
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.engine.resealer import Resealer
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.nowhere import NullJournal
from afterwards.registry.journal.resealing import Step
from afterwards.registry.journal.sealing import key_id_of
from afterwards.registry.protocol.requests import Add, Scrape
from tests.registry.bench import keys_of
from tests.registry.conftest import Hosted
from tests.registry.peers import SERVICE, ask, eventually, get, make_task


def keys_in_use(journal: Path) -> set[str | None]:
    with closing(sqlite3.connect(journal)) as db:
        return {key_id_of(payload) for (payload,) in db.execute("SELECT payload FROM payloads")}


def test_nothing_runs_where_nothing_is_to_be_done(tmp_path: Path) -> None:
    registry = MemoryRegistry(SERVICE, journal=SqliteJournal(tmp_path / "j"))
    assert "resealer" not in {thread.name for thread in threading.enumerate()}
    registry.close()


def test_a_registry_that_closes_does_not_wait_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "j"
    registry = MemoryRegistry(SERVICE, journal=SqliteJournal(path, keys=keys_of("k1")))
    registry.exchange(None, 0, [Add(make_task()) for _ in range(150)])
    registry.close()
    for _ in range(3):
        # However far each comes.
        journal = SqliteJournal(path, keys=keys_of("k2", "k1"))
        MemoryRegistry(SERVICE, journal=journal).close()
    journal = SqliteJournal(path, keys=keys_of("k2", "k1"))
    registry = MemoryRegistry(SERVICE, journal=journal)
    eventually(lambda: journal.left_to_reseal() == 0, "all is sealed anew")
    registry.close()
    assert keys_in_use(path) == {"k2"}


def test_a_journal_that_cannot_be_read_is_asked_again(tmp_path: Path) -> None:
    class Failing(NullJournal):
        failures = 1
        steps = 1

        def left_to_reseal(self) -> int:
            return self.steps

        def to_reseal(self) -> Step | None:
            if self.failures:
                self.failures -= 1
                raise JournalUnreadable("disk I/O error")
            self.steps -= 1
            return Step() if self.steps >= 0 else None

    woken: list[bool] = []

    def wake() -> None:
        woken.append(True)
        resealer.committed()

    journal = Failing()
    resealer = Resealer(journal, wake, again_seconds=0.0)
    resealer.start()
    eventually(lambda: woken, "a step is staged")
    resealer.close()


def test_a_killed_registry_goes_on_with_it_and_keeps_every_task(hosted: Hosted) -> None:
    first = hosted.start(keys=keys_of("k1"))
    registry = hosted.reopen(first)
    tasks = [make_task(payload=b'{"n":%d}' % number) for number in range(2_000)]
    registry.exchange(None, 0, [Add(task) for task in tasks])
    hosted.kill(first)

    process = hosted.start(keys=keys_of("k2", "k1"))
    text = ""
    for _ in range(3):
        text = ask(hosted.reopen(process), Scrape()).decode()
        hosted.kill(process)
    assert re.search(r"^afterwards_journal_tasks_to_reseal [1-9]", text, re.MULTILINE)
    registry = hosted.reopen(process)
    eventually(
        lambda: b"\nafterwards_journal_tasks_to_reseal 0.0\n" in ask(registry, Scrape()),
        "all is sealed anew",
        seconds=60.0,
    )

    assert keys_in_use(hosted.data_dir / "journal.sqlite3") == {"k2"}
    for task in tasks[:: len(tasks) // 7]:
        assert get(registry, task.id).payload == task.payload


def test_no_command_line_shows_a_key(hosted: Hosted) -> None:
    keys = keys_of("k1")
    process = hosted.start(keys=keys)
    for file in ("cmdline", "environ"):
        shown = Path(f"/proc/{process.pid}/{file}").read_bytes()
        assert keys.text.encode()[3:20] not in shown
