"""Descriptors that run out for a moment: everything waits, nothing fails, and no slot is lost."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from afterwards.lifecycle import TaskState
from tests.integration.conftest import wait_for
from tests.integration.test_uvicorn import UvicornService
from tests.reliability.conftest import FaultyService, NewService


@contextmanager
def without_descriptors(pids: list[int], limit: int = 3) -> Iterator[None]:
    """Let these processes open nothing, or what `limit` leaves; what they have open, they keep."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    for pid, (_, most) in before.items():
        # Numbers below three are those of its standard streams, and never free.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, most))
    try:
        yield
    finally:
        for pid, limits in before.items():
            # It may have ended, which the test then says better.
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def is_tried_again(service: FaultyService, task_id: str) -> bool:
    return service.task(task_id).attempt >= 2


def has_logged(service: FaultyService, line: str) -> bool:
    return line in service.log_text()


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
            wait_for(partial(is_tried_again, service, task_id), "tried again")
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


def test_descriptors_that_run_out_in_the_master_end_nothing_and_all_is_replaced_afterwards(
    new_service: NewService,
) -> None:
    service = new_service()
    service.start()
    service.open_gate()
    accepted = service.add("file", {"content": {"a": 1}})
    assert service.master is not None
    workers, registry = set(service.worker_pids()), service.registry_pid()
    killed = min(workers)
    with without_descriptors([service.master.pid]):
        os.kill(killed, signal.SIGKILL)
        os.kill(registry, signal.SIGKILL)
        for line in ("a worker cannot be started", "registry process cannot be started"):
            wait_for(partial(has_logged, service, line), line)
        umask = Path(f"/proc/{service.master.pid}/status").read_text().partition("Umask:")[2]
        assert int(umask.split()[0], 8) == _umask()

    wait_for(lambda: service.registry_pid() != registry, "another registry")
    wait_for(lambda: service.metric("afterwards_workers") == 2, "another worker")
    assert service.master.poll() is None
    assert killed not in service.worker_pids()
    tasks = [accepted, *(service.add(kind) for kind in ("wait-thread", "wait-process"))]
    assert {task.state for task in service.all_ended(tasks)} == {"success"}
    lines = service.log_text().splitlines()
    for event in ("a worker cannot be started", "registry process cannot be started"):
        assert sum(event in line for line in lines) == 1
    assert service.stop() == 0


def test_with_100_open_files_to_a_process_tasks_of_every_executor_are_done(
    new_service: NewService,
) -> None:
    service = new_service()
    service.command = ("sh", "-c", 'ulimit -n 100 && exec "$@"', "sh", *service.command)
    service.start()
    service.open_gate()
    for pid in service.processes():
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (100, 100)
    tasks = [
        service.add("file", {"content": {"a": 1}}),
        *(service.add(kind) for kind in ("wait-process", "wait-thread")),
    ]
    ended = service.all_ended(tasks)
    assert [(task.state, task.attempt) for task in ended] == [("success", 1)] * 3
    assert service.stop() == 0


def test_descriptors_that_run_out_in_the_registry_delay_new_workers_and_nothing_else(
    new_service: NewService,
) -> None:
    service = new_service()
    service.start()
    service.open_gate()
    registry, killed = service.registry_pid(), min(service.worker_pids())
    line = "no connection can be accepted"
    with without_descriptors([registry]):
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: line in service.log_text(), "a connection refused")

    wait_for(lambda: service.metric("afterwards_workers") == 2, "another worker")
    task_id = service.add("wait-process")
    assert service.ended(task_id).state == "success"
    assert service.registry_pid() == registry
    assert sum(line in each for each in service.log_text().splitlines()) == 1
    assert service.stop() == 0


def test_a_worker_that_lacks_descriptors_for_its_start_does_not_end_the_service(
    new_service: NewService,
) -> None:
    service = new_service()
    service.start()
    assert service.master is not None
    killed = min(service.worker_pids())
    fds = Path(f"/proc/{service.master.pid}/fd")
    used = max(int(fd.name) for fd in fds.iterdir()) + 1
    # Enough to fork a worker, which inherits the limit, and not enough for its lifespan.
    with without_descriptors([service.master.pid], limit=used + 12):
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: service.log_text().count("exited with code") >= 2, "two that failed")

    wait_for(lambda: service.metric("afterwards_workers") == 2, "another worker")
    assert service.stop() == 0


def test_descriptors_that_run_out_under_uvicorn_alone_leave_the_registry_looked_after(
    tmp_path: Path,
) -> None:
    service = UvicornService(tmp_path)
    service.start()
    try:
        assert service.master is not None
        registry = service.registry_pid()
        with without_descriptors([service.master.pid]):
            os.kill(registry, signal.SIGKILL)
            wait_for(lambda: _is_noticed(service), "the death noticed")
        wait_for(lambda: service.registry_pid() != registry, "another registry")
        wait_for(service.is_ready, "ready again")
    finally:
        service.kill_everything()


def _is_noticed(service: UvicornService) -> bool:
    log = service.log_file.read_text()
    return any(line in log for line in ("cannot be started", "cannot tell whether"))


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
