"""Time limits: real for coroutines and processes, and honest about threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import wait_for
from tests.reliability.conftest import FaultyService, NewService

LIMIT_SECONDS = 0.3
GRACE_SECONDS = 1.0


@pytest.mark.parametrize("kind", ["wait", "wait-process", "wait-deaf"])
def test_what_can_be_stopped_is_stopped_when_its_time_is_up(
    service: FaultyService, kind: str
) -> None:
    neighbour = service.add("wait-process")
    service.begun(neighbour, 1)
    task_id = service.add(kind, timeout_seconds=LIMIT_SECONDS, max_attempts=1)
    task = service.ended(task_id)

    assert (task.state, task.error) == ("failed", f"Timed out after {LIMIT_SECONDS:g} s")
    if kind != "wait":
        # Even one that ignores SIGTERM: its process was killed, and nobody else's.
        assert not Path(f"/proc/{service.begun(task_id, 1).pid}").exists()
    wait_for(lambda: _slots(service, "busy") == 1, "its slot free again")
    service.open_gate()
    assert service.ended(neighbour).attempt == 1
    service.gate.unlink()


def test_a_timed_out_task_is_tried_again_while_it_has_attempts(service: FaultyService) -> None:
    task_id = service.add("wait", timeout_seconds=LIMIT_SECONDS, max_attempts=2)
    service.begun(task_id, 2)
    service.open_gate()
    task = service.ended(task_id)
    assert (task.state, task.attempt, task.attempts_used) == ("success", 2, 1)
    service.gate.unlink()


def test_a_thread_that_does_not_return_ends_with_its_host_and_costs_no_slot(
    service: FaultyService,
) -> None:
    task_id = service.add("wait-thread", timeout_seconds=LIMIT_SECONDS, max_attempts=1)
    host = service.begun(task_id, 1).pid
    task = service.ended(task_id)
    assert (task.state, task.error) == ("failed", f"Timed out after {LIMIT_SECONDS:g} s")
    assert host not in service.processes(), "the report waits for the end of the attempt"

    # Each worker has one thread slot in all.
    others = [service.add("wait-thread") for _ in range(2)]
    for other in others:
        service.begun(other, 1)
    service.open_gate()
    for other in others:
        assert service.ended(other).state == "success"
    service.gate.unlink()


@pytest.mark.parametrize("limit_seconds", [None, LIMIT_SECONDS], ids=["running", "timed out"])
def test_threads_that_do_not_return_hold_a_stop_no_longer_than_the_grace(
    new_service: NewService, limit_seconds: float | None
) -> None:
    service = new_service(grace_seconds=str(GRACE_SECONDS))
    service.start()
    task_id = service.add("wait-thread", timeout_seconds=limit_seconds, max_attempts=1)
    service.begun(task_id, 1)
    if limit_seconds:
        service.ended(task_id)
    # The gate stays closed: the thread itself would wait for ever.
    assert service.stop() == 0
    assert not service.processes()

    if not limit_seconds:
        service.start()
        service.open_gate()
        task = service.ended(task_id)
        assert (task.state, task.attempt, task.lost_attempts) == ("success", 2, 0)
        assert service.stop() == 0


def _slots(service: FaultyService, state: str, executor: str = "") -> float:
    labels = {"executor": executor} if executor else {}
    return service.metric("afterwards_executor_slots", state=state, **labels)
