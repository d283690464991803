"""Retention in PostgreSQL: what is overdue goes, with its attempts; its id a while later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from afterwards.errors import TaskDeleted, TaskNotFound
from afterwards.lifecycle import Task
from afterwards.registry.postgresql import retention
from afterwards.registry.postgresql.database import Database
from afterwards.registry.postgresql.registry import PostgresqlRegistry
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.requests import AddAll, Get, Pause, Resume
from tests.registry.peers import SERVICE, Peer, Processes, ask, eventually, make_task, raised

pytestmark = [pytest.mark.machines, pytest.mark.processes]

KEPT_SECONDS = 1_000.0


@pytest.fixture
def database(empty_database: str) -> Iterator[Database]:
    database = Database(empty_database)
    yield database
    database.close()


@pytest.fixture
def registry(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresqlRegistry]:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.05)
    registry = PostgresqlRegistry(
        empty_database, SERVICE, ages=retention.Ages(tasks=KEPT_SECONDS, activity=KEPT_SECONDS)
    )
    yield registry
    registry.close()


@pytest.fixture
def peer(registry: PostgresqlRegistry, processes: Processes) -> Peer:
    peer = Peer(registry, processes.start(SERVICE))
    peer.join()
    return peer


def finished(peer: Peer, **fields: object) -> Task:
    task = make_task(**fields)
    peer.succeed(peer.run(task))
    return task


def turn_back(database: Database, *ids: str) -> None:
    """Have tasks finished, or deleted, that much earlier."""
    moved = (KEPT_SECONDS + 1, list(ids))
    tasks = "UPDATE afterwards.tasks SET finished_at = finished_at - %s WHERE id = ANY (%s::uuid[])"
    deleted = "UPDATE afterwards.deleted SET at = at - %s WHERE id = ANY (%s::uuid[])"
    with database.transaction() as transaction:
        transaction.run([(tasks, moved), (deleted, moved)])


def test_what_is_overdue_is_deleted_and_remembered_for_as_long_again(
    registry: PostgresqlRegistry, peer: Peer, database: Database
) -> None:
    old, young = finished(peer), finished(peer)
    waiting = make_task(executor="thread")
    peer.add(waiting)
    turn_back(database, old.id)

    eventually(lambda: raised(ask(registry, Get(old.id))) is TaskDeleted, "deleted")
    for kept in (young, waiting):
        assert ask(registry, Get(kept.id)).id == kept.id
    [[(attempts,)], [(deleted,)]] = database.read(
        ("SELECT count(*) FROM afterwards.attempts WHERE task = %s", (old.id,)),
        ("SELECT sum(number)::int FROM afterwards.counts WHERE counter = 'deleted'", ()),
    )
    assert (attempts, deleted) == (0, 1)

    turn_back(database, old.id)
    eventually(lambda: raised(ask(registry, Get(old.id))) is TaskNotFound, "forgotten")


def test_more_than_a_step_goes_in_one_pass(
    empty_database: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = PostgresqlRegistry(empty_database, SERVICE)
    ask(before, AddAll([make_task() for _ in range(2 * retention.STEP + 1)]))
    before.close()
    end = "UPDATE afterwards.tasks SET state = 'cancelled', finished_at = 1, lane = NULL"
    with database.transaction() as transaction:
        transaction.run([(end, ())])

    monkeypatch.setattr(retention, "PAUSE_SECONDS", 3600.0)
    registry = PostgresqlRegistry(
        empty_database, SERVICE, ages=retention.Ages(tasks=KEPT_SECONDS, activity=KEPT_SECONDS)
    )
    try:
        eventually(lambda: tasks_in(database) == 0, "all deleted")
    finally:
        registry.close()


def tasks_in(database: Database) -> int:
    [[(number,)]] = database.read(("SELECT count(*) FROM afterwards.tasks", ()))
    return int(number)


def test_a_member_stays_while_its_follower_waits(
    registry: PostgresqlRegistry, peer: Peer, database: Database
) -> None:
    follower = make_task(executor="thread")
    member, alone = finished(peer), finished(peer)
    peer.add(follower)
    with database.transaction() as transaction:
        put = "UPDATE afterwards.tasks SET task_group = %s WHERE id = %s"
        transaction.run([(put, (follower.id, member.id))])
    turn_back(database, member.id, alone.id)

    eventually(lambda: raised(ask(registry, Get(alone.id))) is TaskDeleted, "deleted")
    assert ask(registry, Get(member.id)).id == member.id


def test_old_entries_of_activity_and_starts_that_no_rate_counts_are_forgotten(
    registry: PostgresqlRegistry, database: Database
) -> None:
    ask(registry, Pause("note", by=By(actor="ann")))
    with database.transaction() as transaction:
        transaction.run(
            [
                ("UPDATE afterwards.activity SET at = at - %s", (KEPT_SECONDS + 1,)),
                ("INSERT INTO afterwards.starts (type, elapsed) VALUES ('note', 1)", ()),
            ]
        )
    ask(registry, Resume("note", by=By(actor="ann")))

    eventually(lambda: rows_of(database) == (1, 0), "one entry is left, and no start")


def rows_of(database: Database) -> tuple[int, int]:
    [[(entries,)], [(starts,)]] = database.read(
        ("SELECT count(*) FROM afterwards.activity", ()),
        ("SELECT count(*) FROM afterwards.starts", ()),
    )
    return int(entries), int(starts)
