"""Stops and new task code under load: nothing lost, nothing run twice, nothing left behind."""

from __future__ import annotations

import os
import signal
from collections import Counter

from tests.integration.conftest import wait_for
from tests.reliability.conftest import FaultyService, NewService
from tests.reliability.load import SteadyLoad

GRACE_SECONDS = 1.0


def test_a_stop_under_load_loses_nothing_and_counts_nothing(
    new_service: NewService,
) -> None:
    service = new_service(grace_seconds=str(GRACE_SECONDS))
    service.start()
    interrupted = [service.add(kind) for kind in ["wait"] * 5 + ["wait-process"] * 3]
    for task_id in interrupted:
        service.begun(task_id, 1)
    with SteadyLoad(service.url, per_second=200) as load:
        wait_for(lambda: len(load.accepted) > 100, "a hundred tasks accepted")
        # What waits at the gate would hold it for ever.
        assert service.stop() == 0
    wait_for(lambda: not service.processes(), "no process left behind")

    service.open_gate()
    service.start()
    for task in service.all_ended(interrupted):
        assert (task.state, task.attempt) == ("success", 2)
        assert (task.lost_attempts, task.attempts_used) == (0, 0)
    assert {task.state for task in service.all_ended(load.accepted)} == {"success"}
    runs = Counter(mark.task_id for mark in service.trace() if mark.word == "begin")
    assert {runs[task_id] for task_id in load.accepted} == {1}
    assert service.metric("afterwards_task_attempts_total", outcome="lost") == 0
    assert service.stop() == 0


def test_a_stop_sent_to_every_process_counts_no_attempt(new_service: NewService) -> None:
    # As systemd does it by default; the pool children get the signal, too.
    service = new_service(grace_seconds=str(GRACE_SECONDS))
    service.start()
    interrupted = [service.add(kind) for kind in ["wait", *["wait-process"] * 3]]
    children = {service.begun(task_id, 1).pid for task_id in interrupted} - {*service.worker_pids()}
    assert service.master is not None
    assert children <= set(service.processes())
    for pid in service.processes():
        os.kill(pid, signal.SIGTERM)
    assert service.master.wait(30) == 0

    service.open_gate()
    service.start()
    for task in service.all_ended(interrupted):
        assert (task.state, task.attempt, task.lost_attempts) == ("success", 2, 0)
    assert service.stop() == 0


def test_reloads_under_load_fail_no_request_and_run_nothing_twice(new_service: NewService) -> None:
    service = new_service(notification_delay_seconds="0.2")
    service.start()
    running = [service.add(kind) for kind in ("wait", "wait-thread", "wait-process")]
    for task_id in running:
        service.begun(task_id, 1)
    with SteadyLoad(service.url, per_second=200) as load:
        _reload(service)
        _reload(service)
        service.open_gate()
        enough = len(load.accepted) + 100
        wait_for(lambda: len(load.accepted) > enough, "more tasks accepted")
    assert load.failures == []
    task_ids = [*load.accepted, *running]
    assert {task.state for task in service.all_ended(task_ids)} == {"success"}
    runs = Counter(mark.task_id for mark in service.trace() if mark.word == "begin")
    assert runs == dict.fromkeys(task_ids, 1)
    assert service.stop() == 0
    wait_for(lambda: not service.processes(), "no process left behind")


def _reload(service: FaultyService) -> None:
    assert service.master is not None
    done = service.log_file.read_text().count("worker runs new task code")
    service.master.send_signal(signal.SIGHUP)
    wait_for(
        lambda: service.log_file.read_text().count("worker runs new task code") == done + 2,
        "both workers run the new code",
    )
