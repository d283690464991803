"""An encrypted journal: nothing readable on disk, everything readable through it."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import JournalError, JournalUnreadable
from afterwards.registry.journal.batch import as_batch
from afterwards.registry.journal.columns import key
from afterwards.registry.journal.file import connect
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.sealing import is_sealed
from afterwards.registry.protocol.activity import Bulk, By
from afterwards.registry.protocol.answers import Details, ErrorGroup
from afterwards.registry.protocol.filters import Filter, Order, Search
from afterwards.registry.protocol.requests import (
    Activity,
    Add,
    Cancel,
    Count,
    Errors,
    Failed,
    Find,
    GetSchedule,
    Inspect,
    PutSchedule,
)
from afterwards.registry.state.retention import PAUSE_SECONDS
from tests.registry.bench import Bench, FailingSqlite, SteppedRegistry, keys_of
from tests.registry.peers import ask, get, make_schedule, make_task, raised

SECRET = "geheimnis"
K1 = keys_of("k1")
PAYLOAD = json.dumps({"to": SECRET, "n": 7}).encode()


class Written:
    """One of everything that has a secret in it, as a registry was told it."""

    def __init__(self, bench: Bench, registry: SteppedRegistry) -> None:
        peer = bench.peer(registry, {"async": 10})
        self.done = bench.task(payload=PAYLOAD, idempotency_key="a", fingerprint=b"f" * 32)
        peer.succeed(peer.run(self.done), json.dumps({"is": SECRET}).encode())
        self.failed = bench.task(payload=PAYLOAD)
        claim = peer.run(self.failed)
        error, lines = f"no {SECRET} 1", [f"I know the {SECRET}"]
        trace = f"at {SECRET}"
        peer.report(Failed(claim.task_id, 1, error, 0.1, None, log_lines=lines, traceback=trace))
        self.released = bench.task(payload=PAYLOAD)
        peer.release(peer.run(self.released), reason=f"gone with {SECRET}")
        pattern = make_task(id="", created_at=0.0, run_at=0.0, payload=PAYLOAD)
        ask(registry, PutSchedule(make_schedule(pattern=pattern)))
        # A verb for many tasks, chosen by a search.
        by = By("ann", bulk=Bulk(str(uuid.uuid4()), f"q={SECRET}", f"for {SECRET}"))
        ask(registry, Cancel(self.released.id, by=by))


def on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


def seen(registry: SteppedRegistry, written: Written) -> list[Any]:
    """Everything of it that can be read."""
    tasks = [written.done, written.failed, written.released]
    details: list[Details] = [ask(registry, Inspect(t.id, tracebacks=True)) for t in tasks]
    schedule = ask(registry, GetSchedule("nightly")).pattern.payload
    groups: list[ErrorGroup] = ask(registry, Errors()).groups
    told = [(one.message, one.number, one.sample_ids) for one in groups]
    activity = ask(registry, Activity(limit=9)).entries
    return [[(d.task, d.attempts) for d in details], schedule, told, activity]


def resealed(registry: SteppedRegistry) -> int:
    """Have all steps staged and written; how many those were."""
    steps = 0
    while registry.committer.resealer.stage():
        registry.tick()
        steps += 1
    return steps


def open_with(bench: Bench, *ids: str) -> tuple[SteppedRegistry, FailingSqlite]:
    """The registry after a crash, with these keys."""
    journal = bench.crash(keys_of(*ids) if ids else None)
    return bench.registry(journal=journal), journal


def rows(bench: Bench, sql: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(bench.directory / "journal.sqlite3")) as db, db:
        return db.execute(sql, values).fetchall()


# -- what is on disk ------------------------------------------------------------------------------


def test_the_files_hold_nothing_of_a_secret(bench: Bench) -> None:
    Written(bench, bench.registry(journal=bench.journal()))
    assert SECRET.encode() in on_disk(bench.directory)
    bench.close()
    for path in bench.directory.iterdir():
        path.unlink()

    registry = bench.registry(journal=bench.journal(K1))
    written = Written(bench, registry)
    found = on_disk(bench.directory)
    assert SECRET.encode() not in found
    assert b"f" * 32 not in found
    bench.close()
    assert SECRET.encode() not in on_disk(bench.directory)
    assert SECRET in str(seen(bench.registry(journal=bench.journal(K1)), written))


def test_what_lists_go_by_stays_readable(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(K1))
    peer = bench.peer(registry)
    peer.succeed(peer.run(bench.task(labels='{"tenant":"acme"}', idempotency_key="order-7")))
    found = rows(bench, "SELECT type, state, labels, idempotency_key, finished_at FROM tasks")
    finished_at = bench.clock.wall()
    assert found == [("note", "success", '{"tenant":"acme"}', "order-7", finished_at)]


def test_everything_reads_the_same_as_without_a_key(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(K1))
    written = Written(bench, registry)
    before = seen(registry, written)

    registry, _ = open_with(bench, "k1")

    assert seen(registry, written) == before
    [(task, attempts)] = [one for one in before[0] if one[0].id == written.failed.id]
    assert (task.payload, task.error) == (PAYLOAD, f"no {SECRET} 1")
    assert attempts[0].error == f"no {SECRET} 1"
    assert attempts[0].log_lines == (f"I know the {SECRET}",)
    assert attempts[0].traceback == f"at {SECRET}"


def test_without_keys_nothing_of_it_is_at_work(bench: Bench) -> None:
    journal = bench.journal()
    Written(bench, bench.registry(journal=journal))
    assert journal.to_reseal() is None
    assert rows(bench, "SELECT count(*) FROM encryption_keys") == [(0,)]
    assert journal._reader.execute("SELECT count(*) FROM temp.sqlite_master").fetchone() == (0,)


# -- lists and searches ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "search",
    [
        Search(SECRET),
        Search("GEHEIM"),
        Search(SECRET, ("to",)),
        Search("7", ("n",)),
        Search("nothing of it"),
        Search("other", ("to",)),
    ],
)
@pytest.mark.parametrize("order", [Order.CREATED, Order.FINISHED])
def test_a_search_finds_the_same_as_without_a_key(
    bench: Bench, search: Search, order: Order
) -> None:
    query, found = Find(Filter(search=search), order=order), []
    for keys in (None, K1):
        registry = bench.registry(journal=bench.journal(keys))
        written = Written(bench, registry)
        ids = [written.done.id, written.failed.id, written.released.id]
        page = ask(registry, query)
        counted = ask(registry, Count(query.filter))
        assert page.scan.complete
        found.append(([ids.index(task.id) for task in page.tasks], counted))
        bench.close()
        for path in bench.directory.iterdir():
            path.unlink()
    assert found[0] == found[1]


def test_a_search_ends_in_time_and_says_how_far_it_came(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.registry.journal.scanning.SCAN_SECONDS", 0.0)
    registry = bench.registry(journal=bench.journal(K1))
    peer = bench.peer(registry)
    peer.exchange(*(Add(bench.task(payload=PAYLOAD)) for _ in range(50)))

    page = ask(registry, Find(Filter(search=Search("not there"))))

    assert (page.tasks, page.scan.complete) == ([], False)
    assert 0 < page.scan.examined < 50


def test_a_summary_has_the_beginning_of_the_payload(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(K1))
    payload = b'{"text":"' + b"x" * 100_000 + b'"}'
    bench.peer(registry).add(bench.task(payload=payload))
    [task] = ask(registry, Find(Filter(), summary=True)).tasks
    assert payload.startswith(task.payload)
    assert 0 < len(task.payload) < len(payload)


def test_a_list_with_keys_goes_by_the_same_indexes(bench: Bench) -> None:
    def plan(journal: SqliteJournal, sql: str) -> list[str]:
        steps = journal._reader.execute(f"EXPLAIN QUERY PLAN {sql}")
        return [detail.replace("main.", "") for *_, detail in steps]

    with (
        closing(SqliteJournal(bench.directory / "plain")) as plain,
        closing(SqliteJournal(bench.directory / "sealed", keys=K1)) as sealed,
    ):
        for sql in (
            "SELECT ord FROM tasks WHERE ord >= 1 AND ord < 9 AND type = 'a' AND state = 'b'",
            "SELECT finished_at, ord FROM tasks WHERE state = 'failed' ORDER BY finished_at",
            "SELECT max(ord) FROM tasks",
            "SELECT reason FROM tasks WHERE id = x'00'",
        ):
            assert plan(plain, sql) == plan(sealed, sql)


# -- groups of errors -----------------------------------------------------------------------------


def group_id(registry: SteppedRegistry) -> str:
    [group] = ask(registry, Errors()).groups
    found: str = group.id
    assert [t.error for t in ask(registry, Find(Filter(error=found))).tasks] == [f"no {SECRET} 1"]
    return found


def test_the_id_of_an_error_group_tells_nothing_and_outlasts_a_change_of_keys(
    bench: Bench,
) -> None:
    registry = bench.registry(journal=bench.journal())
    Written(bench, registry)
    plain = group_id(registry)
    registry, _ = open_with(bench, "k1")
    first = group_id(registry)
    registry, _ = open_with(bench, "k2", "k1")
    assert group_id(registry) == first != plain
    peer = bench.peer(registry)
    peer.fail(peer.run(bench.task()), error=f"no {SECRET} 2")
    [group] = ask(registry, Errors()).groups
    assert (group.id, group.number) == (first, 2)
    registry, _ = open_with(bench, "none", "k1", "k2")
    assert ask(registry, Errors()).groups[0].id == plain


# -- keys -----------------------------------------------------------------------------------------


def test_a_missing_key_is_named_at_the_start_and_nothing_is_changed(bench: Bench) -> None:
    Written(bench, bench.registry(journal=bench.journal(keys_of("k1"))))
    bench.close()
    before = (bench.directory / "journal.sqlite3").read_bytes()
    for keys in (None, keys_of("k2"), keys_of("none")):
        with pytest.raises(JournalError, match="a key that is not given: k1; add it to AFTERW"):
            bench.journal(keys)
    assert (bench.directory / "journal.sqlite3").read_bytes() == before


def test_a_changed_entry_of_the_log_of_activity_is_not_shown(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(K1))
    Written(bench, registry)
    rows(bench, "UPDATE activity SET name = detail")
    problem = refused(registry, Activity(limit=9))
    assert "the name of the log of activity cannot be opened: it was changed" in problem


def test_another_key_by_the_same_id_is_seen_at_the_start(bench: Bench) -> None:
    Written(bench, bench.registry(journal=bench.journal(K1)))
    bench.close()
    other = EncryptionKeys(keys_of("k2").text.replace("k2:", "k1:"))
    with pytest.raises(JournalError, match="the key k1 in AFTERWARDS_ENCRYPTION_KEYS is not the"):
        bench.journal(other)


# -- changed values -------------------------------------------------------------------------------


def refused(registry: SteppedRegistry, request: Any) -> str:
    answer = ask(registry, request)
    assert raised(answer) is JournalUnreadable, answer
    return str(answer)


def test_a_payload_swapped_with_that_of_another_task_is_not_shown(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(K1))
    peer = bench.peer(registry)
    one, two = bench.task(payload=b"1"), bench.task(payload=b"2")
    for task in (one, two):
        peer.succeed(peer.run(task))
    [(first,), (second,)] = rows(bench, "SELECT payload FROM payloads ORDER BY ord")
    assert is_sealed(first)
    for order, payload in ((1, second), (2, first)):
        rows(bench, "UPDATE payloads SET payload = ? WHERE ord = ?", payload, order)

    problem = refused(registry, Inspect(one.id))
    assert f"the payload of task {one.id} cannot be opened: it was changed, or belongs" in problem
    # The list begins with the newest.
    assert two.id in refused(registry, Find(Filter()))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("UPDATE tasks SET error = reason", "error"),
        ("UPDATE tasks SET error = substr(error, 1, length(error) - 1)", "error"),
        ("UPDATE attempts SET log = error", "log of attempt 1"),
        ("UPDATE tracebacks SET text = substr(text, 1, 40)", "traceback of attempt 1"),
    ],
)
def test_a_value_in_another_field_or_cut_short_is_not_shown(
    bench: Bench, change: str, field: str
) -> None:
    registry = bench.registry(journal=bench.journal(K1))
    written = Written(bench, registry)
    rows(bench, f"{change} WHERE ord = 2")

    problem = refused(registry, Inspect(written.failed.id, tracebacks=True))

    assert f"the {field} of task {written.failed.id} cannot be opened" in problem
    assert SECRET not in problem
    assert get(registry, written.done.id).payload == PAYLOAD


def test_a_changed_value_of_an_unfinished_task_ends_the_start_with_its_name(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(K1))
    task = bench.task()
    bench.peer(registry, {}).add(task)
    rows(bench, "UPDATE payloads SET payload = substr(payload, 1, length(payload) - 1)")
    journal = bench.crash(K1)
    with pytest.raises(JournalUnreadable, match=f"the payload of task {task.id} cannot be opened"):
        bench.registry(journal=journal)
    journal.close()


@pytest.mark.parametrize("ids", [("k1",), ("k2", "k1")])
def test_a_changed_message_of_a_group_ends_the_start_with_its_name(
    bench: Bench, ids: Sequence[str]
) -> None:
    Written(bench, bench.registry(journal=bench.journal(K1)))
    bench.close()
    rows(bench, "UPDATE error_groups SET message = substr(message, 1, 40)")
    with pytest.raises(JournalError, match=r"the message of .* group .* cannot be opened: it was"):
        bench.journal(keys_of(*ids))


def test_a_changed_entry_of_the_log_of_activity_is_named_when_the_key_changes(
    bench: Bench,
) -> None:
    Written(bench, bench.registry(journal=bench.journal(K1)))
    bench.close()
    rows(bench, "UPDATE activity SET name = detail")
    with pytest.raises(JournalError, match="an entry of the log of activity cannot be opened: it"):
        bench.journal(keys_of("k2", "k1"))


def test_a_changed_fingerprint_does_not_end_retention(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(K1), retention_seconds=1_000.0)
    peer = bench.peer(registry, {"async": 10})
    fields: dict[str, Any] = {"idempotency_key": "a", "fingerprint": b"f" * 32}
    damaged, other = bench.task(**fields), bench.task()
    first, last = as_batch([bench.task(**{**fields, "idempotency_key": "b"}), bench.task()])
    for task in (damaged, first, other):
        peer.succeed(peer.run(task))
    bench.clock.turn(999.0)
    peer = bench.peer(registry, {"async": 10})
    peer.succeed(peer.run(last))
    rows(bench, "UPDATE tasks SET fingerprint = reason WHERE fingerprint IS NOT NULL")
    bench.clock.turn(2 * PAUSE_SECONDS)
    registry.tick()
    # The first of a batch stays for as long as any task of it.
    kept = rows(bench, "SELECT id FROM tasks ORDER BY ord")
    assert kept == [(key(first.id),), (key(last.id),)]
    bench.clock.turn(1_000.0)
    registry.tick()
    assert rows(bench, "SELECT id FROM tasks") == []


# -- what was there before ------------------------------------------------------------------------


def test_a_journal_from_before_is_readable_at_once_and_encrypted_in_steps(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    written = Written(bench, registry)
    before = seen(registry, written)

    registry, journal = open_with(bench, "k1")
    assert journal.left_to_reseal() == 3
    assert [one[0] for one in seen(registry, written)[0]] == [one[0] for one in before[0]]
    assert SECRET.encode() in on_disk(bench.directory)
    assert resealed(registry) == 1

    assert journal.left_to_reseal() == 0
    assert SECRET.encode() not in on_disk(bench.directory)
    assert seen(registry, written)[0] == before[0]
    registry, journal = open_with(bench, "k1")
    assert (resealed(registry), journal.left_to_reseal()) == (0, 0)


def test_nothing_is_left_of_what_was_deleted_before(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(), retention_seconds=10.0)
    Written(bench, registry)
    for _ in range(3):
        bench.clock.turn(120.0)
        registry.tick()
    assert rows(bench, "SELECT count(*) FROM tasks WHERE finished_at IS NOT NULL") == [(0,)]
    bench.close()
    assert SECRET.encode() in on_disk(bench.directory)

    registry = bench.registry(journal=bench.journal(K1))
    resealed(registry)

    assert SECRET.encode() not in on_disk(bench.directory)


@pytest.mark.parametrize("with_tasks", [False, True])
def test_nothing_is_left_of_what_the_adoption_of_a_key_replaces(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, with_tasks: bool
) -> None:
    def connect_as_most_do(path: Path, *, mode: str = "rwc") -> sqlite3.Connection:
        db = connect(path, mode=mode)
        # Debian's SQLite overwrites what is deleted by itself.
        db.execute("PRAGMA secure_delete = OFF")
        return db

    monkeypatch.setattr("afterwards.registry.journal.journal.connect", connect_as_most_do)
    registry = bench.registry(journal=bench.journal())
    if with_tasks:
        bench.peer(registry, {}).add(bench.task())
    pattern = make_task(id="", created_at=0.0, run_at=0.0, payload=PAYLOAD * 1_000)
    ask(registry, PutSchedule(make_schedule(pattern=pattern)))
    bench.close()
    assert SECRET.encode() in on_disk(bench.directory)

    resealed(bench.registry(journal=bench.journal(K1)))

    assert SECRET.encode() not in on_disk(bench.directory)
    bench.close()
    assert SECRET.encode() not in on_disk(bench.directory)


def test_what_the_last_step_had_to_leave_in_the_files_is_gone_with_the_next_start(
    bench: Bench,
) -> None:
    Written(bench, bench.registry(journal=bench.journal()))
    registry, _ = open_with(bench, "k1")
    with closing(sqlite3.connect(bench.directory / "journal.sqlite3")) as backup:
        backup.execute("BEGIN")
        backup.execute("SELECT count(*) FROM tasks").fetchone()
        resealed(registry)
        assert SECRET.encode() in on_disk(bench.directory)
        registry, journal = open_with(bench, "k1")
    assert journal.left_to_reseal() == 0
    assert SECRET.encode() not in on_disk(bench.directory)


def test_a_key_is_needed_until_nothing_is_under_it(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(K1))
    written = Written(bench, registry)
    before = seen(registry, written)[0]
    bench.close()

    registry = bench.registry(journal=bench.journal(keys_of("k2", "k1")))
    bench.close()
    with pytest.raises(JournalError, match="not given: k1;"):
        bench.journal(keys_of("k2"))
    registry = bench.registry(journal=bench.journal(keys_of("k2", "k1")))
    resealed(registry)
    bench.close()

    registry = bench.registry(journal=bench.journal(keys_of("k2")))
    assert [one[0] for one in seen(registry, written)[0]] == [one[0] for one in before]


def test_encryption_is_removed_as_a_key_is_changed(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal(K1))
    written = Written(bench, registry)
    registry, _ = open_with(bench, "none", "k1")
    before = seen(registry, written)
    resealed(registry)

    registry, journal = open_with(bench)

    assert seen(registry, written) == before
    assert rows(bench, "SELECT payload FROM payloads") == [(PAYLOAD,)] * 3
    assert journal.to_reseal() is None


def test_an_empty_journal_has_nothing_to_go_through_and_no_former_key(bench: Bench) -> None:
    bench.journal(K1).close()
    journal = bench.journal(keys_of("k2", "k1"))
    assert journal.left_to_reseal() == 0
    journal.close()
    bench.journal(keys_of("k2")).close()
