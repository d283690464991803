"""Values are sealed anew in small steps, beside the work, and nothing is lost on the way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from afterwards.registry.journal.history import MOST_TRACEBACK_BYTES
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.resealing import STEP_BYTES, STEP_TASKS
from afterwards.registry.journal.sealing import key_id_of
from afterwards.registry.protocol.requests import Add, Failed, Inspect
from tests.registry.bench import Bench, SteppedRegistry, keys_of
from tests.registry.peers import ask, get

MANY = 3 * STEP_TASKS + 1


def stored(bench: Bench, sql: str) -> list[Any]:
    """The values as they are on disk."""
    journal = bench.directory / "journal.sqlite3"
    with closing(sqlite3.connect(journal)) as db:
        return [value for row in db.execute(sql) for value in row if value is not None]


def keys_in_use(bench: Bench) -> set[str | None]:
    values = stored(
        bench, "SELECT payload, reason, error, result FROM payloads JOIN tasks USING (ord)"
    )
    return {key_id_of(value) for value in values}


def with_many(bench: Bench, number: int = MANY, **fields: Any) -> list[str]:
    """So many tasks under the key k1, which wait; their ids."""
    registry = bench.registry(journal=bench.journal(keys_of("k1")))
    tasks = [bench.task(payload=b'{"n":%d}' % n, **fields) for n in range(number)]
    bench.peer(registry, {}).exchange(*map(Add, tasks))
    return [task.id for task in tasks]


def changing(bench: Bench) -> tuple[SteppedRegistry, SqliteJournal]:
    journal = bench.crash(keys_of("k2", "k1"))
    return bench.registry(journal=journal), journal


def test_a_step_has_some_tasks_and_says_how_many_are_left(bench: Bench) -> None:
    ids = with_many(bench)
    registry, journal = changing(bench)
    left = [journal.left_to_reseal()]
    while registry.committer.resealer.stage():
        registry.tick()
        left.append(journal.left_to_reseal())
    assert left == [MANY, MANY - STEP_TASKS, MANY - 2 * STEP_TASKS, 1, 0]
    assert keys_in_use(bench) == {"k2"}
    assert [get(registry, one).payload for one in (ids[0], ids[-1])] == [b'{"n":0}', b'{"n":300}']


def test_a_step_of_large_values_has_few_tasks(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(keys_of("k1")))
    large = b"x" * (STEP_BYTES // 2)
    bench.peer(registry, {}).exchange(*(Add(bench.task(payload=large)) for _ in range(10)))
    registry, journal = changing(bench)
    registry.committer.resealer.stage()
    registry.tick()
    assert journal.left_to_reseal() == 8


def test_a_step_of_long_tracebacks_has_few_tasks(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(keys_of("k1")))
    peer, number = bench.peer(registry, {"async": 100}), 40
    traceback = "x" * MOST_TRACEBACK_BYTES
    peer.exchange(*(Add(bench.task()) for _ in range(number)))
    failed = [Failed(one, 1, "no", 0.1, None, traceback=traceback) for one in [*peer.table]]
    assert len(failed) == number
    peer.exchange(*failed)
    registry, journal = changing(bench)
    registry.committer.resealer.stage()
    registry.tick()
    assert journal.left_to_reseal() == number - STEP_BYTES // MOST_TRACEBACK_BYTES


def test_a_crash_between_any_two_steps_goes_on_where_it_was(bench: Bench) -> None:
    ids = with_many(bench)
    for number in range(1, 5):
        registry, journal = changing(bench)
        assert journal.left_to_reseal() == MANY - (number - 1) * STEP_TASKS
        # Staged, and lost with the process.
        assert registry.committer.resealer.stage()
        registry, journal = changing(bench)
        assert registry.committer.resealer.stage()
        registry.tick()
    registry, journal = changing(bench)
    assert journal.left_to_reseal() == 0
    assert keys_in_use(bench) == {"k2"}
    assert {get(registry, one).id for one in ids} == set(ids)


def test_a_step_that_cannot_be_written_stands_in_no_other_s_way(bench: Bench) -> None:
    with_many(bench)
    registry, journal = changing(bench)
    registry.committer.resealer.stage()
    journal.failures = 1  # type: ignore[attr-defined] # the failing one
    registry.tick()
    assert journal.left_to_reseal() == MANY
    assert registry.committer.resealer.staged is None
    task = bench.task()
    assert ask(registry, Add(task)) is None
    assert registry.committer.resealer.stage()
    registry.tick()
    assert journal.left_to_reseal() == MANY - STEP_TASKS


def test_a_task_that_changes_meanwhile_keeps_its_change(bench: Bench) -> None:
    [task_id] = with_many(bench, 1, idempotency_key="a", fingerprint=b"f" * 32)
    registry, _ = changing(bench)
    registry.committer.resealer.stage()
    peer = bench.peer(registry, {"async": 1})
    [claim] = peer.table.values()
    peer.report(Failed(claim.task_id, 1, "no", 0.1, None, log_lines=["line"], traceback="trace"))
    registry.tick()

    details = ask(registry, Inspect(task_id, tracebacks=True))

    assert (details.task.error, details.task.fingerprint) == ("no", b"f" * 32)
    assert details.task.payload == b'{"n":0}'
    assert details.attempts[0].traceback == "trace"
    assert keys_in_use(bench) == {"k2"}
    assert {key_id_of(v) for v in stored(bench, "SELECT fingerprint FROM tasks")} == {"k2"}


def test_what_attempts_have_is_sealed_anew_too(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(keys_of("k1")))
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    peer.report(Failed(claim.task_id, 1, "no", 0.1, None, log_lines=["line"], traceback="trace"))
    registry, _ = changing(bench)
    before = ask(registry, Inspect(claim.task_id, tracebacks=True))
    registry.committer.resealer.stage()
    registry.tick()
    values = stored(bench, "SELECT error, log, text FROM attempts JOIN tracebacks USING (ord)")
    assert [key_id_of(value) for value in values] == ["k2"] * 3
    assert ask(registry, Inspect(claim.task_id, tracebacks=True)) == before


def test_a_value_that_cannot_be_opened_stays_and_its_key_with_it(bench: Bench) -> None:
    ids = with_many(bench, 2)
    with closing(sqlite3.connect(bench.directory / "journal.sqlite3")) as db, db:
        # The first one is finished: an unfinished one would end the start.
        db.execute("UPDATE tasks SET state = 'success', finished_at = 1e12 WHERE ord = 1")
        db.execute("UPDATE payloads SET payload = CAST(payload || x'00' AS BLOB) WHERE ord = 1")
    registry, journal = changing(bench)
    while registry.committer.resealer.stage():
        registry.tick()
    assert journal.left_to_reseal() == 0
    assert stored(bench, "SELECT id FROM encryption_keys") == ["k1", "k2"]
    assert stored(bench, "SELECT unreadable FROM encryption") == [1]
    assert get(registry, ids[1]).payload == b'{"n":1}'
