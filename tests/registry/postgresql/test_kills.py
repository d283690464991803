"""Kills: of the server amid exchanges, and of the process that leads. Nothing accepted is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest

from afterwards.errors import AfterwardsError
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.postgresql.database import Database, DatabaseUnreachable
from afterwards.registry.postgresql.registry import PostgresqlRegistry
from afterwards.registry.protocol.requests import Add, Get
from tests.postgresql import Server, programs
from tests.registry.peers import SERVICE, Peer, Processes, ask, eventually, make_task

pytestmark = [pytest.mark.machines, pytest.mark.processes]

KILLS = 3
BETWEEN = 40
"""So many answers at least are between two kills."""


@pytest.fixture
def server() -> Iterator[Server]:
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql, or make database")
    # The service asks for synced commits, whatever the default is.
    server = Server(found, synchronous_commit="off")
    try:
        server.start()
        yield server
    finally:
        server.close()


class Client:
    """A thread that does one thing again and again, and notes what was answered."""

    def __init__(self, act: Callable[[], str | None]) -> None:
        self._act = act
        self.answered: list[str] = []
        self.broken = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                done = self._act()
            except (DatabaseUnreachable, AfterwardsError):
                self.broken += 1
                self._over.wait(0.02)
            else:
                if done is not None:
                    self.answered.append(done)


def submitting(registry: PostgresqlRegistry) -> Callable[[], str | None]:
    def act() -> str | None:
        task = make_task(executor="thread")
        return task.id if ask(registry, Add(task)) is None else None

    return act


def running(registry: PostgresqlRegistry, processes: Processes) -> Callable[[], str | None]:
    """Has a worker run one task after the other; what it gives has succeeded."""
    peer = Peer(registry, processes.start(SERVICE), {"async": 1})
    peer.join()

    def act() -> str | None:
        try:
            claim = next(iter(peer.table.values()), None) or peer.run(make_task())
            return claim.task_id if peer.succeed(claim) is None else None
        except DatabaseUnreachable:
            registry_back(registry)
            peer.table.clear()
            peer.join()
            raise

    return act


def registry_back(registry: PostgresqlRegistry) -> None:
    def answers() -> bool:
        try:
            ask(registry, Get(make_task().id))
        except DatabaseUnreachable:
            return False
        return True

    eventually(answers, "the database is back")


def all_have(clients: Sequence[Client], wanted: Sequence[int]) -> bool:
    return all(
        len(client.answered) >= number for client, number in zip(clients, wanted, strict=True)
    )


def test_what_was_answered_outlives_kills_of_the_server(
    server: Server, processes: Processes
) -> None:
    registry = PostgresqlRegistry(server.create("kills"), SERVICE)
    clients = [Client(submitting(registry)), Client(submitting(registry))]
    clients.append(Client(running(registry, processes)))
    try:
        for _ in range(KILLS):
            wanted = [len(client.answered) + BETWEEN for client in clients]
            eventually(partial(all_have, clients, wanted), "answers")
            server.stop(signal.SIGQUIT)
            server.start()
        registry_back(registry)
    finally:
        for client in clients:
            client.end()
    submitters, runner = clients[:2], clients[2]

    lost = [
        task_id
        for client in clients
        for task_id in client.answered
        if not isinstance(ask(registry, Get(task_id)), Task)
    ]
    undone = [
        task_id
        for task_id in runner.answered
        if ask(registry, Get(task_id)).state is not TaskState.SUCCESS
    ]
    registry.close()
    assert (lost, undone) == ([], [])
    assert all(client.broken for client in submitters)


# -- the leader -----------------------------------------------------------------------------------

LEADER = """
import sys, time
from afterwards.registry.postgresql.registry import PostgresqlRegistry
PostgresqlRegistry(sys.argv[1], "another")
time.sleep(600)
"""


@pytest.fixture
def database(empty_database: str) -> Iterator[Database]:
    database = Database(empty_database)
    yield database
    database.close()


@pytest.fixture
def leader(empty_database: str, database: Database) -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads."""
    process = subprocess.Popen(
        [sys.executable, "-c", LEADER, f"{empty_database}&application_name=first"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: holder(database) is not None, "a leader")
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def follower(empty_database: str, leader: subprocess.Popen[bytes]) -> Iterator[PostgresqlRegistry]:
    del leader
    registry = PostgresqlRegistry(empty_database, SERVICE)
    yield registry
    registry.close()


def holder(database: Database) -> str | None:
    [[(name,)]] = database.read(("SELECT holder FROM afterwards.leader", ()))
    return None if name is None else str(name)


def test_another_process_leads_when_the_leader_is_killed(
    leader: subprocess.Popen[bytes], follower: PostgresqlRegistry, processes: Processes
) -> None:
    peer = Peer(follower, processes.start(SERVICE))
    peer.join()
    leader.kill()
    leader.wait()
    task = make_task(state=TaskState.SCHEDULED, run_at=time.time() + 0.1)
    peer.add(task)

    # None but a leader makes it due.
    assert peer.watch()
    assert [claim.task_id for claim in peer.take()] == [task.id]


def test_a_leader_that_comes_back_from_a_stop_leads_no_more(
    leader: subprocess.Popen[bytes], follower: PostgresqlRegistry, database: Database
) -> None:
    del follower
    before = holder(database)
    leader.send_signal(signal.SIGSTOP)
    eventually(lambda: holder(database) != before, "another leader")
    after = holder(database)

    leader.send_signal(signal.SIGCONT)
    [[(woken_at,)]] = database.read(("SELECT clock_timestamp()", ()))
    # It has long looked whether it leads: it does so four times a second.
    active = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'first' AND query_start > %s + interval '1 second'"
    )
    eventually(lambda: database.read((active, (woken_at,))) != [[(0,)]], "it is at work")

    assert holder(database) == after
