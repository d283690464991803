"""A task that kills costs itself, and after three lost attempts no more than that."""

from __future__ import annotations

import os
import signal

import pytest

from afterwards.lifecycle import MAX_LOST_ATTEMPTS
from tests.integration.conftest import wait_for
from tests.reliability.conftest import FaultyService, NewService

ENDS = {
    "exit": "exited with status 3",
    "segfault": "SIGSEGV",
    "out of memory": "SIGKILL",
}


@pytest.mark.parametrize("how", ENDS)
def test_a_task_that_kills_its_process_fails_alone_and_says_how(
    service: FaultyService, how: str
) -> None:
    kinds = ("wait-process", "wait-process", "wait-thread", "wait")
    neighbours = [service.add(kind) for kind in kinds]
    before = {task_id: service.begun(task_id, 1).pid for task_id in neighbours}
    guilty = service.ended(service.add("die", {"how": how}))

    assert (guilty.state, guilty.lost_attempts) == ("failed", MAX_LOST_ATTEMPTS)
    assert guilty.error is not None
    assert ENDS[how] in guilty.error
    assert service.beginnings(guilty.id) == MAX_LOST_ATTEMPTS
    service.open_gate()
    for task_id in neighbours:
        task = service.ended(task_id)
        assert (task.state, task.attempt, task.lost_attempts) == ("success", 1, 0)
        assert service.begun(task_id, 1).pid == before[task_id]
    service.gate.unlink()


@pytest.mark.thorough
def test_a_poisonous_task_that_takes_everything_down_is_stopped_after_restarts(
    new_service: NewService,
) -> None:
    service = new_service()
    service.start()
    poison = service.add("poison", {"data_dir": str(service.data_dir)})
    # The last one alone, to be sure that it was no other's fault.
    attempts = MAX_LOST_ATTEMPTS + 1
    for attempt in range(1, attempts + 1):
        service.begun(poison, attempt)
        assert service.master is not None
        assert service.master.wait(10) == -signal.SIGKILL
        wait_for(lambda: not service.processes(), "everything dead")
        service.start(ready=attempt == attempts)

    task = service.ended(poison)
    assert (task.state, task.lost_attempts) == ("failed", MAX_LOST_ATTEMPTS)
    assert service.beginnings(poison) == attempts
    done = service.submit("/notify/", {"email": "johndoe@example.com", "message": "x"})
    assert service.ended(done).state == "success"
    assert service.stop() == 0


def test_what_a_task_leaves_behind_ends_with_its_worker_too(new_service: NewService) -> None:
    service = new_service(workers="1")
    service.start()
    task_id = service.add("daemon")
    service.begun(task_id, 1)
    file = service.gate.with_name("daemon")
    pid = int(wait_for(lambda: file.read_text() if file.exists() else "", "the daemon's id"))
    assert pid in service.processes()

    os.kill(service.worker_pids()[0], signal.SIGKILL)
    wait_for(lambda: pid not in service.processes(), "the daemon ended")
    service.open_gate()
    assert service.ended(task_id).state == "success"
    assert service.stop() == 0
    assert not service.processes()
