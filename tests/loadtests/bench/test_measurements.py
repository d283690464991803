"""Each measurement, as small as it can be: it measures what it says. Never how long that takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from afterwards_executors.base import End, Outcome
from loadtests.bench.figures import Row
from loadtests.bench.measurements import MEASUREMENTS, pools
from loadtests.bench.stand import Stand
from loadtests.browser import CHROMIUM, MISSING
from loadtests.errors import LoadTestError
from loadtests.servers import Service
from tests.loadtests.conftest import SMALL, Journal, needs_wrk

pytestmark = [needs_wrk, pytest.mark.thorough, pytest.mark.timeout(180)]


def measured(stand: Stand, name: str) -> list[Row]:
    rows = list(MEASUREMENTS[name](stand))
    assert rows
    for row in rows:
        assert row.measurement == name
        assert len(row.ours.values) == SMALL.rounds
        assert row.ours.low > 0
        if row.beside is not None:
            assert row.ratio is not None
            assert row.beside_name
    return rows


def tasks_of(row: Row) -> int:
    """The number of tasks that is printed beside the figure."""
    found = re.search(r"; ([\d,]+) tasks in [\d,]+ commits", row.durable)
    assert found, row.durable
    return int(found[1].replace(",", ""))


def traced(row: Row) -> int:
    """The submissions before the measurement, all of which have to be synced."""
    if "not traced" in row.durable:
        pytest.skip(row.durable)
    assert row.durable.startswith(f"{SMALL.synced} of {SMALL.synced} synced before the 202")
    return SMALL.synced


def test_posts_are_accepted_stored_and_done_and_no_more_than_that(
    stand: Stand, journal: Journal
) -> None:
    accepted, finished = measured(stand, "post")
    assert tasks_of(accepted) > SMALL.connections
    assert journal.states() == {"success": traced(accepted) + tasks_of(accepted)}
    assert finished.beside == accepted.ours
    assert accepted.beside_name == "bare route"


@pytest.mark.parametrize(
    ("name", "without"), [("keyed", "without"), ("encrypted", "not encrypted")]
)
def test_the_price_of_an_option_is_beside_the_service_without_and_the_bare_route(
    stand: Stand, journal: Journal, name: str, without: str
) -> None:
    beside_bare, *others = measured(stand, name)
    assert beside_bare.note.startswith("accepted/bare ")
    assert [row.beside_name for row in others] == [without] * 3
    [accepted, finished, processor] = others
    assert beside_bare.ours == accepted.ours
    assert finished.ours.high <= accepted.ours.high
    assert processor.unit == "us"
    assert tasks_of(accepted) > SMALL.connections
    [(state, number)] = journal.states().items()
    assert state == "success"
    assert traced(accepted) + tasks_of(accepted) <= number


def test_a_service_that_lets_in_a_stranger_gives_no_price_of_keys(
    monkeypatch: pytest.MonkeyPatch, stand: Stand
) -> None:
    monkeypatch.setattr(Service, "require_key", lambda service: None)
    with pytest.raises(LoadTestError, match="answered 202, not 401"):
        list(MEASUREMENTS["keyed"](stand))


def test_a_service_that_does_not_encrypt_gives_no_price_of_encryption(
    monkeypatch: pytest.MonkeyPatch, stand: Stand
) -> None:
    plain = Stand.service
    monkeypatch.setattr(Stand, "service", lambda stand, **_: plain(stand))
    with pytest.raises(LoadTestError, match="payloads can be read: True"):
        list(MEASUREMENTS["encrypted"](stand))


def test_a_latency_is_that_of_tasks_which_are_stored_and_done(
    stand: Stand, journal: Journal
) -> None:
    p50, p99 = measured(stand, "latency")
    assert tasks_of(p50) == SMALL.requests
    assert journal.states() == {"success": traced(p50) + SMALL.requests}
    assert p99.ours.median >= p50.ours.median


def test_a_task_that_is_followed_is_followed_to_its_end(stand: Stand, journal: Journal) -> None:
    polled, _, told, _ = measured(stand, "finish")
    assert tasks_of(polled) == tasks_of(told) == 2 * SMALL.one_by_one
    assert journal.states() == {"success": traced(polled) + 2 * SMALL.one_by_one}


def test_many_connections_are_measured_as_a_few_are(stand: Stand, journal: Journal) -> None:
    accepted, finished = measured(stand, "crowd")
    assert accepted.name == f"POST, {SMALL.crowd} connections: accepted, durable"
    assert journal.states() == {"success": traced(accepted) + tasks_of(accepted)}
    assert finished.beside == accepted.ours


def test_as_many_tasks_come_in_batches_as_one_by_one(stand: Stand, journal: Journal) -> None:
    [row] = measured(stand, "batches")
    assert tasks_of(row) == 2 * SMALL.batches * 100
    assert journal.states() == {"success": traced(row) + tasks_of(row)}


def test_status_reads_are_of_tasks_that_were_done(stand: Stand, journal: Journal) -> None:
    (row,) = measured(stand, "reads")
    assert journal.states() == {"success": traced(row) + SMALL.readable}


def test_metrics_are_read_while_the_tasks_are_unfinished(stand: Stand, journal: Journal) -> None:
    p50, _ = measured(stand, "metrics")
    assert sum(journal.states().values()) == traced(p50) + SMALL.registered
    assert set(journal.states()) <= {"pending", "processing"}


def test_waiting_tasks_really_wait(stand: Stand, journal: Journal) -> None:
    accepted, finished = measured(stand, "waiting")
    assert journal.states() == {"success": traced(accepted) + SMALL.waiting}
    assert min(journal.took_seconds()) >= SMALL.waiting_seconds * 0.99  # the clock may be slewed
    assert tasks_of(accepted) >= SMALL.waiting
    assert finished.ours.median >= SMALL.waiting_seconds


def test_guests_are_measured_beside_a_type_that_comes_with_the_service(stand: Stand) -> None:
    rows = measured(stand, "guests")
    assert len(rows) == 9
    assert {row.beside_name for row in rows} == {"notification"}


def test_each_task_has_a_key_of_its_own_while_others_wait_with_as_many(
    stand: Stand, tmp_path: Path
) -> None:
    rows = measured(stand, "keys")
    assert len(rows) == 6
    assert {row.beside_name for row in rows} == {"no keys"}
    keyed = Journal(tmp_path / "service-1" / "data" / "journal.sqlite3")
    assert keyed.states()["pending"] == SMALL.keys
    numbers = [keyed.key_counts(column) for column in ("concurrency_key", "unique_key")]
    assert all(tasks == different > 0 for tasks, different in numbers)
    assert sum(tasks for tasks, _ in numbers) == tasks_of(rows[0])
    plain = Journal(tmp_path / "service-0" / "data" / "journal.sqlite3")
    assert plain.states()["pending"] == SMALL.keys
    assert plain.key_counts("concurrency_key") == plain.key_counts("unique_key") == (0, 0)


def test_growth_has_every_figure_at_every_size(stand: Stand) -> None:
    rows = measured(stand, "growth")
    names = {row.name for row in rows}
    assert {name.partition(" ")[0] for name in names} == {"0", "300"}
    assert len(names) == len(rows) == 10
    assert all((row.beside is None) == row.name.startswith("0 ") for row in rows)


def test_executors_are_measured_beside_the_raw_pools(stand: Stand) -> None:
    rows = measured(stand, "executors")
    assert [row.beside_name for row in rows] == [
        "asyncio tasks",
        "ThreadPoolExecutor",
        "ProcessPoolExecutor",
    ]


@pytest.mark.machines
def test_a_cluster_is_measured_beside_the_futures_of_dask(stand: Stand) -> None:
    rows = list(MEASUREMENTS["dask"](stand))
    assert [row.beside_name for row in rows] == ["Dask futures"] * 2
    assert all(row.ours.low > 0 for row in rows)


def fails() -> Outcome:
    return Outcome(End.FAILED, error="no")


async def no_op_elsewhere() -> Outcome:
    return Outcome(End.SUCCEEDED, value=b"1")


@pytest.mark.parametrize(
    ("kind", "function"),
    [("thread", fails), ("process", fails), ("async", no_op_elsewhere)],
)
def test_calls_that_did_not_run_where_they_should_give_no_figure(
    monkeypatch: pytest.MonkeyPatch, stand: Stand, kind: str, function: Any
) -> None:
    monkeypatch.setattr(pools, "FUNCTIONS", {**pools.FUNCTIONS, kind: function})
    with pytest.raises(LoadTestError, match="ran"):
        list(MEASUREMENTS["executors"](stand))


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_the_dashboard_is_measured_by_the_browser_and_what_it_costs_by_submissions(
    stand: Stand,
) -> None:
    rows = list(MEASUREMENTS["dashboard"](stand))
    assert [row.unit for row in rows] == ["ms"] * 4 + ["kB"] * 2 + ["1/s", "kB/s", "1/s"]
    (cold, warm), accepted = rows[4:6], rows[-1]
    assert cold.ours.low > 50
    assert warm.ours.high == 0
    assert accepted.beside_name == "no window"
    assert all(row.note.startswith("budget") for row in rows)
