"""Descriptors that run out for a moment: everything waits, nothing fails, and no slot is lost."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from afterwards.lifecycle import TaskState
from tests.integration.conftest import wait_for
from tests.reliability.conftest import NewService


@contextmanager
def without_descriptors(pids: list[int]) -> Iterator[None]:
    """Let these processes open nothing; what they have open, they keep."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    for pid, (_, most) in before.items():
        # Numbers below this one are those of its standard streams, and never free.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, most))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def test_descriptors_that_run_out_cost_no_task_an_attempt_and_no_slot(
    new_service: NewService,
) -> None:
    service = new_service(workers="1", process_slots="2")
    service.start()
    service.open_gate()
    with without_descriptors(service.worker_pids()):
        tasks = [
            service.add("file", {"content": {"a": 1}}),
            service.add("wait-process"),
            # Opens the trace, and has one attempt only.
            service.add("wait-thread"),
        ]
        for task_id in tasks:
            wait_for(lambda i=task_id: service.task(i).attempt >= 2, "tried again")  # type: ignore[misc]
        for task_id in tasks:
            task = service.task(task_id)
            assert task.state in (TaskState.PENDING, TaskState.PROCESSING)
            assert (task.attempts_used, task.lost_attempts) == (0, 0)

    for task_id in tasks:
        task = service.ended(task_id)
        assert (task.state, task.attempts_used, task.lost_attempts) == ("success", 0, 0)
    lines = [line for line in service.log_text().splitlines() if "has run out" in line]
    assert len(lines) <= 3  # one for each kind

    service.gate.unlink()
    for task_id in [service.add("wait-process") for _ in range(2)]:
        service.begun(task_id, 1)
    service.open_gate()
    assert service.stop() == 0
