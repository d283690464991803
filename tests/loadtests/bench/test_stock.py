"""A journal that was filled is one that the service has written."""

from __future__ import annotations

from loadtests.bench import stock
from loadtests.bench.stand import Stand
from loadtests.connection import get
from tests.loadtests.conftest import Journal


def test_stored_tasks_are_finished_counted_and_can_be_read(stand: Stand) -> None:
    directory = stand.new_directory("stock")
    service = stand.service()
    first = stock.fill(directory, 20)
    second = stock.fill(directory, 30)
    stock.copy(directory, service.data_dir)
    with service, service.connect() as connection:
        counts = service.counts()
        assert (counts.submitted, counts.succeeded, counts.unfinished) == (50, 50, 0)
        assert len({*first, *second}) == 50
        for task_id in (*first, *second):
            assert b'"status":"success"' in connection.expect(200, get(f"/status/{task_id}"))


def test_unfinished_tasks_are_done_by_the_service_that_finds_them(
    stand: Stand, journal: Journal
) -> None:
    service = stand.service()
    stock.fill(service.data_dir, 25, finished=False)
    assert journal.states() == {"pending": 25}
    with service:
        counts = service.wait_finished(25)
        assert (counts.submitted, counts.succeeded) == (25, 25)
