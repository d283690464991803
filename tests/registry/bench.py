"""Registries that are committed by hand, on a clock that is turned by hand."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import tempfile
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from afterwards.encryption_keys import NONE, EncryptionKeys
from afterwards.errors import JournalUnavailable
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.engine.call import Call
from afterwards.registry.engine.memory import MemoryRegistry, Surroundings
from afterwards.registry.journal.base import Group, Journal
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.nowhere import NullJournal
from afterwards.registry.protocol.base import Registry, Worker
from afterwards.registry.protocol.requests import Request, TypeLimits
from afterwards.registry.state.acceptance import Limits
from tests.registry.peers import SERVICE, Peer, make_task


def keys_of(*ids: str) -> EncryptionKeys:
    """Keys by these ids, the same each time; `none` may stand first."""
    parts = [
        name if name == NONE else f"{name}:{b64encode(sha256(name.encode()).digest()).decode()}"
        for name in ids
    ]
    return EncryptionKeys(", ".join(parts))


class TurnedClock:
    """The four clocks; they move only when turned."""

    def __init__(self) -> None:
        self._wall = 1_750_000_000.0
        self._passed = 100.0
        self._slept = 7.0

    def wall(self) -> float:
        return self._wall

    def elapsed(self) -> float:
        return self._passed

    def running(self) -> float:
        return self._passed

    def since_boot(self) -> float:
        return self._passed + self._slept

    def turn(self, seconds: float) -> None:
        self._passed += seconds
        self._wall += seconds

    def sleep(self, seconds: float) -> None:
        """The machine sleeps, with all processes on it."""
        self._slept += seconds
        self._wall += seconds

    def set_wall(self, by_seconds: float) -> None:
        """Somebody sets the machine's clock."""
        self._wall += by_seconds


class Machine:
    """Which workers' processes run, and who wants to know when they end."""

    def __init__(self) -> None:
        self._pids = itertools.count(1_000)
        self._alive: set[Worker] = set()
        self.unkillable: set[Worker] = set()
        """Those that a signal does not end yet, as while they wait for a disk."""
        self._callbacks: dict[Worker, list[Callable[[], None]]] = {}

    def start(self, service: str = SERVICE) -> Worker:
        worker = Worker(service, next(self._pids), 7)
        self._alive.add(worker)
        return worker

    def kill(self, worker: Worker) -> None:
        if worker in self.unkillable:
            return
        self._alive.discard(worker)
        for callback in self._callbacks.pop(worker, []):
            callback()

    def reboot_observers(self) -> None:
        """The registry has crashed: nobody is called back any more."""
        self._callbacks.clear()

    def is_alive(self, worker: Worker) -> bool:
        return worker in self._alive

    def when_gone(self, worker: Worker, callback: Callable[[], None]) -> None:
        if worker in self._alive:
            self._callbacks.setdefault(worker, []).append(callback)
        else:
            callback()


class FailingNull(NullJournal):
    """No journal, whose writes fail when told to."""

    failures = 0

    def write(self, group: Group) -> None:
        _fail_if_told(self)
        super().write(group)


class FailingSqlite(SqliteJournal):
    """The journal, whose writes fail when told to."""

    failures = 0
    """So many writes fail from now on."""

    def write(self, group: Group) -> None:
        _fail_if_told(self)
        super().write(group)


class FailingCommits:
    """A connection whose next commit fails with a code of SQLite's, whether or not it arrives."""

    def __init__(self, db: sqlite3.Connection, code: str, *, arrives: bool) -> None:
        self._db = db
        self._code = code
        self._arrives = arrives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql != "COMMIT":
            return self._db.execute(sql, *values)
        self._db.execute("COMMIT" if self._arrives else "ROLLBACK")
        if self._code == "SQLITE_NOMEM":
            raise MemoryError
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = getattr(sqlite3, self._code)
        error.sqlite_errorname = self._code
        raise error


class ProcessEnded(BaseException):
    """The process would have ended here."""


FailingJournal = FailingNull | FailingSqlite


def _fail_if_told(journal: FailingJournal) -> None:
    if journal.failures:
        journal.failures -= 1
        raise JournalUnavailable("disk I/O error")


class SteppedRegistry(MemoryRegistry):
    """A registry without a thread: each exchange is one group, carried out by the caller."""

    def __init__(
        self,
        clock: TurnedClock,
        machine: Machine,
        journal: Journal | None,
        limits: Limits,
        *,
        retention_seconds: float,
        activity_seconds: float,
        service: str,
        counts_file: Path | None,
        clock_confirmed: bool,
        ran: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(
            service,
            limits,
            retention_seconds=retention_seconds,
            activity_seconds=activity_seconds,
            clock_confirmed=clock_confirmed,
            journal=journal,
            counts_file=counts_file,
            surroundings=Surroundings(clock, machine.is_alive, machine.kill, machine.when_gone),
            ran=ran,
            threaded=False,
        )

    def tick(self) -> None:
        """A group that nobody has asked for: time and deaths take effect."""
        self.committer.post(lambda: None)
        self.committer.turns.step()

    def together(self, *calls: tuple[Peer | None, Sequence[Request]]) -> list[Call]:
        """Several callers in one group."""
        group = [
            Call(peer.worker if peer else None, peer.connection if peer else 0, requests)
            for peer, requests in calls
        ]
        self.committer.commit(group)
        return group


@dataclass
class Bench:
    """Makes stepped registries on one machine, with one clock and, if any, one journal file."""

    directory: Path
    clock: TurnedClock = field(default_factory=TurnedClock)
    machine: Machine = field(default_factory=Machine)
    _open: list[MemoryRegistry] = field(default_factory=list)

    def registry(
        self,
        limits: Limits | None = None,
        *,
        journal: Journal | None = None,
        retention_seconds: float = 3600.0,
        activity_seconds: float = 3600.0,
        service: str = SERVICE,
        counts_file: Path | None = None,
        clock_confirmed: bool = False,
        ran: tuple[float, float] | None = None,
    ) -> SteppedRegistry:
        registry = SteppedRegistry(
            self.clock,
            self.machine,
            journal,
            limits or Limits(),
            retention_seconds=retention_seconds,
            activity_seconds=activity_seconds,
            service=service,
            counts_file=counts_file,
            clock_confirmed=clock_confirmed,
            ran=ran,
        )
        self._open.append(registry)
        return registry

    def journal(self, keys: EncryptionKeys | None = None) -> FailingSqlite:
        return FailingSqlite(self.directory / "journal.sqlite3", check=False, keys=keys)

    def crash(self, keys: EncryptionKeys | None = None) -> FailingSqlite:
        """All processes of the registry die now: its files as they are on disk, opened anew."""
        self.machine.reboot_observers()
        after = Path(tempfile.mkdtemp(dir=self.directory.parent))
        shutil.copytree(self.directory, after, dirs_exist_ok=True)
        (after / "journal.sqlite3-shm").unlink(missing_ok=True)
        self.close()
        self.directory = after
        return self.journal(keys)

    def close(self) -> None:
        for registry in self._open:
            registry.close()
        self._open.clear()

    def peer(
        self,
        registry: Registry,
        slots: Mapping[str, int] | None = None,
        limits: Mapping[str, TypeLimits] | None = None,
    ) -> Peer:
        peer = Peer(registry, self.machine.start(), slots, limits)
        assert peer.join().answers == [None]
        return peer

    def peer_of(self, registry: Registry, service: str, slots: Mapping[str, int]) -> Peer:
        """A worker of a service of another name."""
        peer = Peer(registry, self.machine.start(service), slots)
        assert peer.join().answers == [None]
        return peer

    def task(self, *, due_in: float | None = None, **fields: Any) -> Task:
        """A task made now, by the bench's clock."""
        now = self.clock.wall()
        if due_in is not None:
            fields |= {"run_at": now + due_in, "state": TaskState.SCHEDULED}
        return make_task(**{"created_at": now, "run_at": now, **fields})
