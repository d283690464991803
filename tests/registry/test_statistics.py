"""`Stats`: the service on one page, as far as a registry knows it."""

from __future__ import annotations

from pathlib import Path

from afterwards.registry.engine.memory import MemoryRegistry, Surroundings
from afterwards.registry.engine.rates import DrainRate
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.protocol.answers import Statistics
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.requests import Add, Beat, Pause, Scrape, Stats
from tests.registry.peers import SERVICE, Peer, ask, make_task


def statistics(registry: MemoryRegistry) -> Statistics:
    answer = ask(registry, Stats())
    assert isinstance(answer, Statistics), answer
    return answer


NOBODY = Surroundings(when_gone=lambda *_: None, end=lambda _: None)


def test_what_has_happened_is_counted() -> None:
    registry = MemoryRegistry(SERVICE, surroundings=NOBODY)
    worker = Peer(registry, Worker(SERVICE, 1, 1))
    worker.join()
    claim = worker.run(make_task())
    worker.succeed(claim)
    worker.ask(Pause("note"))
    worker.add(make_task())
    found = statistics(registry)
    assert found.snapshot.counts["tasks", "note", "success"] == 1
    assert found.snapshot.counts["tasks", "note", "pending"] == 1
    assert list(found.paused_types) == ["note"]
    assert (found.schedules, found.journal_bytes) == (0, 0)
    assert found.finished_per_second > 0
    assert found.uptime_seconds > 0
    registry.close()


def test_the_journal_has_the_size_of_its_files(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite3")
    registry = MemoryRegistry(SERVICE, journal=journal, surroundings=NOBODY)
    before = statistics(registry).journal_bytes
    worker = Peer(registry, Worker(SERVICE, 1, 1), {"async": 0})
    worker.join()
    worker.add(*(make_task(payload=b'"%b"' % (b"x" * 10_000)) for _ in range(100)))
    after = statistics(registry).journal_bytes
    assert before > 0
    assert after >= before + 1_000_000
    assert after == sum(path.stat().st_size for path in tmp_path.iterdir())
    registry.close()


def test_the_metrics_tell_the_size_of_the_write_ahead_log(tmp_path: Path) -> None:
    registry = MemoryRegistry(SERVICE, journal=SqliteJournal(tmp_path / "j"), surroundings=NOBODY)
    ask(registry, Add(make_task()))
    size = (tmp_path / "j-wal").stat().st_size

    text = ask(registry, Scrape()).decode()

    assert size > 0
    assert f"\nafterwards_journal_wal_bytes {float(size)}\n" in text
    registry.close()


def test_a_rate_of_long_ago_is_not_the_rate_of_late() -> None:
    rate = DrainRate(0.0)
    rate.count(50, 5.0)
    lately, later = rate.lately(6.0), rate.lately(1_000.0)
    assert lately == rate.per_second > 0
    assert later == 0


def test_a_stuck_attempt_takes_the_slot_of_its_claim_and_no_other() -> None:
    registry = MemoryRegistry(SERVICE, surroundings=NOBODY)
    worker = Peer(registry, Worker(SERVICE, 1, 1), {"async": 3})
    worker.join()
    for _ in range(2):
        worker.run(make_task())
    worker.exchange(Beat(worker.slots, {"async": 1}, worker.held()))
    slots = statistics(registry).snapshot.slots

    assert {state: slots["async", state] for state in ("busy", "stuck", "free")} == {
        "busy": 1,
        "stuck": 1,
        "free": 1,
    }
    registry.close()
