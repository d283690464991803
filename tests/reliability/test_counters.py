"""No counter at `/metrics` falls while the service is up, whoever of it dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import httpx

from tests.counters import Counters, counters, fallen
from tests.integration.conftest import wait_for
from tests.reliability.conftest import FaultyService, NewService

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
HTTP = "afterwards_http_requests_total"
RUNS = "afterwards_task_run_seconds_count"


class Scraper:
    """Sends requests and looks at the counters after each, of whichever worker answers."""

    def __init__(self, service: FaultyService) -> None:
        self._service = service
        self.shown: Counters = {}

    def look(self) -> bool:
        """True if there were counters to see."""
        try:
            self._service.post("/notify/", NOTIFICATION)
            answer = self._service.get("/metrics")
        except httpx.TransportError:
            return False  # a worker has died with the connection
        if answer.status_code != 200:
            assert answer.status_code == 503
            return False
        found = counters(answer.text)
        assert fallen(self.shown, found) == {}
        self.shown = found
        return True

    def until(self, condition: Callable[[], bool], what: str) -> None:
        wait_for(lambda: self.look() and condition(), what)

    def some(self, number: int = 10) -> None:
        for _ in range(number):
            wait_for(self.look, "counters")

    def sum(self, name: str) -> float:
        return sum(value for (each, _), value in self.shown.items() if each == name)


def test_no_counter_falls_while_registry_and_workers_are_replaced(
    new_service: NewService,
) -> None:
    service = new_service(workers="2")
    service.start()
    scraper = Scraper(service)

    def workers() -> set[int]:
        return set(service.worker_pids())

    def kill_registry() -> None:
        before = service.registry_pid()
        os.kill(before, signal.SIGKILL)
        scraper.until(lambda: service.registry_pid() != before, "another registry")
        scraper.some()

    scraper.until(lambda: len(workers()) == 2 and scraper.sum(RUNS) > 0, "both workers")
    scraper.some()
    kill_registry()

    victim = min(workers())
    os.kill(victim, signal.SIGKILL)
    scraper.until(lambda: len(workers() - {victim}) == 2, "another worker")
    scraper.some()
    # The sums of the ended worker are the registry's alone.
    kill_registry()

    old = workers()
    for pid in old:
        os.kill(pid, signal.SIGTERM)
    scraper.until(lambda: len(workers() - old) == 2 and not workers() & old, "new workers")
    scraper.some()
    kill_registry()

    assert scraper.sum(HTTP) > 100
    assert service.stop() == 0
