"""Registries to test.

`reach` is one registry after the other of the contract (in memory, journaled, in a process of its
own), all on the machine's clock and with workers that are real processes; `bench` makes registries
that are committed by hand on a clock that is turned by hand; `hosted` makes registry processes.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.postgresql.database import Database
from afterwards.registry.postgresql.migrations import migrate
from afterwards.registry.postgresql.registry import PostgresqlRegistry
from afterwards.registry.process.manager import RegistryConfig, RegistryProxy, connect
from afterwards.registry.process.supervised import RegistryProcess
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.mapping import TaskMapping
from afterwards.registry.protocol.requests import Request, TypeLimits
from afterwards.registry.state.acceptance import Limits
from tests.postgresql import Server, empty, programs
from tests.registry.bench import Bench, keys_of
from tests.registry.forks import ForkedRegistry
from tests.registry.peers import SERVICE, WAIT_SECONDS, Peer, Processes, ask, eventually, get


@pytest.fixture
def processes() -> Iterator[Processes]:
    running = Processes()
    yield running
    running.close()


# -- registries on the machine's clock ------------------------------------------------------------


@dataclass
class Reach:
    """A registry under contract, and peers for it."""

    open: Callable[[], Registry]
    """Gives the registry for the calling thread."""
    service: str
    processes: Processes
    name: str

    def __post_init__(self) -> None:
        self.registry = self.open()

    def peer(
        self,
        slots: Mapping[str, int] | None = None,
        limits: Mapping[str, TypeLimits] | None = None,
        *,
        joined: bool = True,
    ) -> Peer:
        worker = self.processes.start(self.service)
        peer = Peer(self.registry, worker, slots, limits)
        if joined:
            assert peer.join().answers == [None]
        return peer

    def kill(self, peer: Peer) -> None:
        self.processes.kill(peer.worker)

    def ask(self, request: Request) -> Any:
        return ask(self.registry, request)

    def get(self, task: Task | Claim) -> Task:
        return get(self.registry, task.id if isinstance(task, Task) else task.task_id)

    def ids(self) -> list[str]:
        """Those of all tasks, the newest first."""
        assert isinstance(self.registry, TaskMapping)
        return list(self.registry)

    def state(self, task: Task | Claim) -> TaskState:
        return self.get(task).state


MakeReach = Callable[[Limits], Reach]

REGISTRIES = (
    "memory",
    "journal",
    "encrypted",
    "manager",
    pytest.param("postgresql", marks=pytest.mark.machines),
)


@pytest.fixture(params=REGISTRIES)
def make_reach(
    request: pytest.FixtureRequest, tmp_path: Path, processes: Processes, hosted: Hosted
) -> Iterator[MakeReach]:
    """Makes the contract's registries, with the limits a test wants."""
    made: list[MemoryRegistry | PostgresqlRegistry] = []

    def make(limits: Limits) -> Reach:
        if request.param == "manager":
            process = hosted.start(
                ForkedRegistry,
                max_pending=limits.max_pending,
                max_pending_bytes=limits.max_pending_bytes,
                lease_seconds=limits.lease_seconds,
            )
            endpoint = process.endpoint
            return Reach(lambda: connect(endpoint), endpoint.service, processes, "manager")
        if request.param == "postgresql":
            database = PostgresqlRegistry(
                request.getfixturevalue("empty_database"), SERVICE, limits
            )
            made.append(database)
            return Reach(lambda: database, SERVICE, processes, "postgresql")
        keys = keys_of("k1") if request.param == "encrypted" else None
        journal = None if request.param == "memory" else SqliteJournal(tmp_path / "j", keys=keys)
        registry = MemoryRegistry(SERVICE, limits, journal=journal)
        made.append(registry)
        return Reach(lambda: registry, SERVICE, processes, request.param)

    yield make
    for registry in made:
        registry.close()


@pytest.fixture
def reach(make_reach: MakeReach) -> Reach:
    """A registry, each of the contract's in turn."""
    return make_reach(Limits())


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A server, and in it the database `contract` with the tables."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql, or make database")
    server = Server(found)
    try:
        server.start()
        with Database(server.create("contract")).connect() as connection:
            migrate(connection)
        yield server
    finally:
        server.close()


@pytest.fixture
def empty_database(postgresql: Server) -> str:
    """The address of a database with the tables, and nothing in them."""
    url = postgresql.url("contract")
    empty(url)
    return url


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    directory = tmp_path / "data"
    directory.mkdir()
    bench = Bench(directory)
    yield bench
    bench.close()


@pytest.fixture
def quiet() -> Iterator[None]:
    """Thousands of attempts fail here, and a line about each takes longer than all the rest."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


# -- registry processes ---------------------------------------------------------------------------


class Hosted:
    """Starts registry processes."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._started: list[RegistryProcess] = []

    def config(self, **changes: Any) -> RegistryConfig:
        return RegistryConfig(
            **{
                "data_dir": str(self.data_dir),
                "max_pending": 100_000,
                "max_pending_bytes": 256 * 2**20,
                "lease_seconds": 10.0,
                "retention_hours": 1.0,
                "linger_seconds": 30.0,
                "log_level": "critical",
                "log_format": "json",
                **changes,
            }
        )

    def start(
        self, kind: type[RegistryProcess] = RegistryProcess, **changes: Any
    ) -> RegistryProcess:
        process = kind(self.config(**changes))
        self._started.append(process)
        process.start()
        return process

    def kill(self, process: RegistryProcess) -> None:
        """SIGKILL."""
        process._signal(signal.SIGKILL)
        process._wait_ended(WAIT_SECONDS)

    def reopen(self, process: RegistryProcess) -> RegistryProxy:
        """Have a dead registry process started again, and connect to it."""
        # The pause between two restarts is not what is tested with this.
        process._not_before = 0.0

        def connected() -> RegistryProxy | None:
            process.ensure_running()
            try:
                return connect(process.endpoint)
            except (OSError, EOFError):
                return None

        proxy: RegistryProxy = eventually(lambda: (p := connected()) is not None and [p], "up")[0]
        return proxy

    def close(self) -> None:
        for process in self._started:
            if process.pid is not None and process._is_running():
                process._signal(signal.SIGKILL)
            process.stop(0.0)


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosted]:
    data_dir = tmp_path / "hosted"
    data_dir.mkdir()
    hosted = Hosted(data_dir)
    yield hosted
    hosted.close()
