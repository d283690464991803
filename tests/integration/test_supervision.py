"""The service among its supervisors, its successors and its neighbours."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable

import pytest

from tests.integration.conftest import Service, wait_for

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
NewService = Callable[..., Service]


def signal_all(service: Service, number: signal.Signals) -> None:
    for pid in service.processes():
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


@pytest.mark.thorough
def test_a_stop_sent_to_all_processes_at_once_is_an_orderly_one(new_service: NewService) -> None:
    # As some supervisors do it by default.
    service = new_service(
        notification_delay_seconds="0.5", email_delay_seconds="30", grace_seconds="2"
    )
    service.start()
    assert service.master is not None
    wait_for(lambda: len(service.worker_pids()) == 2, "both workers")
    short = [service.submit("/notify/", NOTIFICATION) for _ in range(5)]
    long = service.submit("/send-email", {"email": "a@example.com", "subject": "s", "body": "b"})
    signal_all(service, signal.SIGTERM)
    assert service.master.wait(30) == 0
    assert "registry process died" not in service.log_file.read_text()
    wait_for(lambda: not service.processes(), "no process left behind")
    service.set(email_delay_seconds="0")
    service.start()
    for task_id in [*short, long]:
        assert service.finished(task_id)["status"] == "success"
    assert service.stop() == 0


def test_a_second_service_on_the_data_directory_is_refused_and_the_first_goes_on(
    new_service: NewService,
) -> None:
    first = new_service(notification_delay_seconds="1")
    first.start()
    assert first.master is not None
    wait_for(lambda: len(first.worker_pids()) == 2, "both workers")
    registry, workers = first.registry_pid(), first.worker_pids()
    task_ids = [first.submit("/notify/", NOTIFICATION) for _ in range(5)]

    second = new_service(data_dir=str(first.data_dir))
    second.start(ready=False)
    assert second.master is not None
    assert second.master.wait(30) == 1
    line = second.log_file.read_text().splitlines()[-1]
    assert line.startswith("afterwards: ")
    assert str(first.data_dir) in line
    assert f"process {first.master.pid})" in line

    for task_id in task_ids:
        assert first.finished(task_id)["status"] == "success"
    assert (first.registry_pid(), first.worker_pids()) == (registry, workers)
    lost = 'afterwards_task_attempts_total{outcome="lost",type="notification"} 0.0'
    assert lost in first.get("/metrics").text
    assert first.stop() == 0


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.thorough)]
)
def test_a_stop_is_obeyed_while_the_start_waits_for_the_data_directory(
    new_service: NewService, number: signal.Signals
) -> None:
    service = new_service()
    service.data_dir.mkdir()
    with (service.data_dir / "registry.lock").open("w") as lock:
        # By somebody who has left no record, as in another container.
        fcntl.flock(lock, fcntl.LOCK_EX)
        service.start(ready=False)
        wait_for(lambda: "cannot be seen from here" in service.log_file.read_text(), "it waits")
        assert service.stop(number) == 0
    wait_for(lambda: not service.processes(), "no process left behind")


@pytest.mark.thorough
def test_a_service_can_be_started_right_after_the_death_of_its_master(
    new_service: NewService,
) -> None:
    service = new_service(notification_delay_seconds="0.5")
    service.start()
    task_ids = [service.submit("/notify/", NOTIFICATION) for _ in range(5)]
    assert service.master is not None
    os.kill(service.master.pid, signal.SIGKILL)
    service.master.wait(10)
    # The old workers hold the port a little longer.
    service.start()
    for task_id in task_ids:
        assert service.finished(task_id)["status"] == "success"
    assert service.stop() == 0
