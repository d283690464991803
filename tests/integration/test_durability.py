"""The promise of a 202, shown with SIGKILL; and the course of an ordered stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.conftest import Service, wait_for

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
NewService = Callable[..., Service]


def test_a_task_answered_202_survives_the_death_of_everything(new_service: NewService) -> None:
    service = new_service(file_delay_seconds="1")
    service.start()
    task_ids = [service.submit("/file/", {"content": {"n": n}}) for n in range(5)]
    service.kill_everything()
    service.start()
    for task_id in task_ids:
        assert service.finished(task_id)["status"] == "success"
        assert (service.output_dir / f"{task_id}.json").exists()
    assert service.stop() == 0


def test_a_submission_repeated_at_once_and_after_a_crash_is_one_task(
    new_service: NewService,
) -> None:
    service = new_service()
    service.start()

    def submit(_: int = 0) -> httpx.Response:
        return service.post("/notify/", NOTIFICATION, headers={"Idempotency-Key": '"once"'})

    # A connection each, so that both workers get some of them at the same moment.
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(submit, range(64)))
    service.kill_everything()
    service.start()
    answers.append(submit())

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert service.finished(answers[0].json()["task_id"])["status"] == "success"
    assert service.stop() == 0


@pytest.mark.thorough
def test_a_dead_worker_s_tasks_are_done_by_another(new_service: NewService) -> None:
    # Its end is noticed, not that of its lease.
    service = new_service(notification_delay_seconds="1", lease_seconds="600")
    service.start()
    task_ids = [service.submit("/notify/", NOTIFICATION) for _ in range(20)]
    before = service.worker_pids()
    os.kill(before[0], signal.SIGKILL)
    for task_id in task_ids:
        assert service.finished(task_id)["status"] == "success"
    wait_for(lambda: len(service.worker_pids()) == 2, "a new worker in the place of the dead one")
    assert service.stop() == 0


@pytest.mark.thorough
def test_a_dead_registry_is_started_again_with_all_tasks(new_service: NewService) -> None:
    service = new_service(notification_delay_seconds="0.5")
    service.start()
    task_ids = [service.submit("/notify/", NOTIFICATION) for _ in range(20)]
    dead = service.registry_pid()
    os.kill(dead, signal.SIGKILL)

    def accepts_again() -> bool:
        answer = service.post("/notify/", NOTIFICATION)
        assert answer.status_code in (202, 503), answer.text
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
            return False
        task_ids.append(answer.json()["task_id"])
        return True

    wait_for(accepts_again, "tasks accepted again")
    assert service.registry_pid() != dead
    for task_id in task_ids:
        assert service.finished(task_id)["status"] == "success"
    assert service.stop() == 0


def test_a_stop_by_whichever_signal_lets_running_attempts_end(new_service: NewService) -> None:
    service = new_service(notification_delay_seconds="1")
    service.start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        task_id = service.submit("/notify/", NOTIFICATION)
        assert service.stop(number) == 0
        wait_for(lambda: not service.processes(), "no process left behind")
        service.start()
        # Done before the restart, so it was never tried again.
        document = service.get(f"/tasks/{task_id}").json()
        assert (document["status"], document["attempts"]) == ("success", 1)
    assert _attempts(service) == {"success": 3}
    assert service.stop() == 0


def test_a_stop_releases_what_outlasts_the_grace_without_counting_it(
    new_service: NewService,
) -> None:
    service = new_service(notification_delay_seconds="30", grace_seconds="0.2")
    service.start()
    task_id = service.submit("/notify/", NOTIFICATION)
    assert service.stop() == 0
    service.start()
    # More than once, if the other worker was told of the stop so much later that it could claim
    # what the first one released.
    assert set(_attempts(service)) == {"released"}
    assert service.get(f"/status/{task_id}").json()["status"] == "pending"
    assert service.stop() == 0


def test_the_death_of_the_master_ends_all_processes(new_service: NewService) -> None:
    service = new_service()
    service.start()
    assert service.master is not None
    service.submit("/notify/", NOTIFICATION)
    os.kill(service.master.pid, signal.SIGKILL)
    service.master.wait(10)
    wait_for(lambda: not service.processes(), "workers, children and registry gone")


def _attempts(service: Service) -> dict[str, int]:
    """Attempts that ended, by outcome, as `/metrics` shows them."""
    counts: dict[str, int] = {}
    for line in service.get("/metrics").text.splitlines():
        if line.startswith("afterwards_task_attempts_total{"):
            outcome = line.partition('outcome="')[2].partition('"')[0]
            counts[outcome] = counts.get(outcome, 0) + int(float(line.rpartition(" ")[2]))
    return {outcome: number for outcome, number in counts.items() if number}
