"""Schedules of a real service: each due time has its task once, whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import datetime, timedelta

from tests.integration.conftest import Service, wait_for

DEFINITION = {
    "type": "notification",
    "payload": {"email": "johndoe@example.com", "message": "Tick"},
    "every_seconds": 1,
}
SECOND = timedelta(seconds=1)


def due_times(service: Service) -> list[datetime]:
    """The due times of the finished tasks."""
    answer = service.get("/tasks?type=notification&status=success&limit=500")
    assert answer.status_code in (200, 503), answer.text
    tasks = answer.json()["tasks"] if answer.status_code == 200 else []
    return sorted(datetime.fromisoformat(task["run_at"]) for task in tasks)


def test_no_due_time_is_passed_over_or_met_twice_under_kills(
    new_service: Callable[..., Service],
) -> None:
    service = new_service()
    service.start()
    assert service.client.put("/schedules/tick", json=DEFINITION).status_code == 201

    def more(number: int) -> None:
        wanted = len(due_times(service)) + number
        wait_for(lambda: len(due_times(service)) >= wanted, f"{number} more ticks")

    more(2)
    os.kill(service.registry_pid(), signal.SIGKILL)
    more(2)
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    more(2)
    service.kill_everything()
    service.start()
    more(2)

    assert service.client.delete("/schedules/tick").status_code == 204

    def all_are_finished() -> bool:
        tasks = service.get("/stats").json()["tasks"]
        return not any(tasks[state] for state in ("scheduled", "pending", "processing"))

    wait_for(all_are_finished, "every tick finished")
    found = due_times(service)
    assert found == [found[0] + number * SECOND for number in range(len(found))]
    assert service.stop() == 0
