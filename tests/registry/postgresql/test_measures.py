"""Figures of the whole service, whichever process is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from afterwards.counts import WorkerCounts
from afterwards.registry.postgresql.registry import PostgresqlRegistry
from afterwards.registry.protocol.answers import Statistics
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import (
    Add,
    Beat,
    Cancel,
    Leave,
    Pause,
    Progress,
    Scrape,
    Stats,
)
from tests.registry.peers import SERVICE, Peer, Processes, ask, eventually, make_task

pytestmark = [pytest.mark.machines, pytest.mark.processes]


@pytest.fixture
def registries(empty_database: str) -> Iterator[list[PostgresqlRegistry]]:
    registries = [PostgresqlRegistry(empty_database, SERVICE) for _ in range(2)]
    yield registries
    for registry in registries:
        registry.close()


def metrics(registry: Registry) -> dict[str, float]:
    """By name and labels."""
    text = ask(registry, Scrape()).decode()
    return {
        " ".join([sample.name, *sorted(sample.labels.values())]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def statistics(registry: Registry) -> Statistics:
    found = ask(registry, Stats())
    assert isinstance(found, Statistics), found
    return found


def test_what_each_process_has_measured_is_added_up(
    registries: list[PostgresqlRegistry], processes: Processes
) -> None:
    for registry in registries:
        peer = Peer(registry, processes.start(SERVICE), {"async": 1})
        peer.join()
        claim = peer.run(make_task())
        peer.succeed(claim)
        peer.exchange(Progress(claim.task_id, 1, 0.5, None))
    before = metrics(registries[0])
    registries[1].close()

    found = metrics(registries[0])

    assert found["afterwards_task_wait_seconds_count note"] == 2
    assert found["afterwards_task_run_seconds_count note"] == 2
    assert found["afterwards_reports_refused_total"] == 2
    assert found["afterwards_tasks_submitted_total note"] == 2
    assert found["afterwards_journal_batch_size_count"] == 4
    assert all(found[name] >= number for name, number in before.items() if "_total" in name)


def test_the_counts_of_a_worker_that_has_left_are_kept(
    registries: list[PostgresqlRegistry], processes: Processes
) -> None:
    counts = WorkerCounts(
        {("GET", "/", "200"): 3}, {("GET", "/"): [1] * 15}, {("async", "ended"): 1}
    )
    for registry in registries:
        peer = Peer(registry, processes.start(SERVICE), {"async": 1})
        peer.join()
        peer.exchange(Beat(peer.slots, {}, [], counts))
        peer.exchange(Leave())
    kept = "SELECT worker FROM afterwards.worker_counts"
    eventually(lambda: registries[0]._database.read((kept, ())) == [[("",)]], "added up")

    found = metrics(registries[1])

    assert found["afterwards_http_requests_total / 200 GET"] == 6
    assert found["afterwards_http_request_duration_seconds_count / GET"] == 28
    assert found["afterwards_host_events_total async ended"] == 2


def test_statistics_are_of_all_processes(
    registries: list[PostgresqlRegistry], processes: Processes
) -> None:
    peer = Peer(registries[0], processes.start(SERVICE), {"async": 1})
    peer.join()
    for type_name in ("note", "report"):
        ask(registries[0], Add(make_task(type=type_name, executor="thread")))
    ask(registries[1], Pause("note"))
    cancelled = make_task(executor="thread")
    ask(registries[1], Add(cancelled))
    ask(registries[1], Cancel(cancelled.id))

    found = statistics(registries[1])

    assert found.snapshot.counts["tasks", "report", "pending"] == 1
    assert {counter for counter, _, _ in found.snapshot.counts} == {
        "tasks",
        "submitted",
        "transitions",
    }
    assert (found.snapshot.workers, found.snapshot.slots["async", "free"]) == (1, 1)
    assert list(found.paused_types) == ["note"]
    assert found.journal_bytes > 100_000
    eventually(lambda: statistics(registries[0]).per_second["finished"] == 0.1, "a second is over")
    assert statistics(registries[0]).per_second["submitted"] == pytest.approx(0.3)


def test_the_oldest_pending_task_is_one_of_a_type_that_is_not_paused(
    registries: list[PostgresqlRegistry],
) -> None:
    now = make_task().created_at
    for type_name, age, priority in (("a", 900.0, 5), ("b", 300.0, 2), ("b", 50.0, 9)):
        task = make_task(type=type_name, run_at=now - age, created_at=now - age, priority=priority)
        ask(registries[0], Add(task))
    assert 900 <= statistics(registries[0]).snapshot.oldest_pending_seconds < 960
    ask(registries[0], Pause("a"))
    assert 300 <= statistics(registries[1]).snapshot.oldest_pending_seconds < 360
