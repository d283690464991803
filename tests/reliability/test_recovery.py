"""The work goes on after each kind of death, and nothing has to run out before it does.

Most leases here are longer than any test waits: what begins again does so because the death was
noticed. `make chaos` says how long it takes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from tests.integration.conftest import started, wait_for
from tests.reliability.conftest import STALL, FaultyService, NewService, kill

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}


LONG_LEASE = "600"
"""In seconds: longer than anything here waits."""


@pytest.fixture
def fresh_service(new_service: NewService) -> Iterator[FaultyService]:
    """For tests that leave little of it as it was. With a lease that does not end by itself."""
    with started(new_service(lease_seconds=LONG_LEASE)) as service:
        yield service


@pytest.fixture
def service_of_short_leases(new_service: NewService) -> Iterator[FaultyService]:
    """With the shortest lease there is, for what nothing but its end can notice."""
    with started(new_service(lease_seconds="5")) as service:
        yield service


@pytest.fixture
def busy_service(new_service: NewService) -> Iterator[FaultyService]:
    """The same, with so few slots that eight attempts of three kinds need those of both workers."""
    slots = {"async_slots": "2", "process_slots": "1", "thread_slots": "1"}
    with started(new_service(lease_seconds="5", **slots)) as service:
        yield service


def test_a_dead_host_s_task_begins_again_and_its_neighbours_go_on(
    fresh_service: FaultyService,
) -> None:
    service = fresh_service
    task_id = service.add("wait-process")
    neighbours = [service.add(kind) for kind in ("wait-process", "wait", "wait-thread")]
    for neighbour in neighbours:
        service.begun(neighbour, 1)
    kill(service.begun(task_id, 1).pid, signal.SIGKILL)

    service.begun(task_id, 2)
    service.open_gate()
    task = service.ended(task_id)
    assert (task.state, task.attempt, task.lost_attempts) == ("success", 2, 1)
    for neighbour in neighbours:
        assert service.ended(neighbour).attempt == 1


def test_a_dead_web_worker_s_tasks_begin_again_before_its_leases_end(
    fresh_service: FaultyService,
) -> None:
    service = fresh_service
    kinds = ["wait"] * 10 + ["wait-process"] * 2 + ["wait-thread"] * 4
    task_ids = [service.add(kind) for kind in kinds]
    begun = {task_id: service.begun(task_id, 1).parent for task_id in task_ids}
    victim = next(pid for pid in begun.values() if pid in service.worker_pids())
    kill(victim, signal.SIGKILL)

    for task_id in (task_id for task_id, pid in begun.items() if pid == victim):
        service.begun(task_id, 2)
    service.open_gate()
    assert {task.state for task in service.all_ended(task_ids)} == {"success"}
    wait_for(lambda: len(service.worker_pids()) == 2, "a new worker in the place of the dead one")


def test_a_dead_registry_is_started_again_and_keeps_all(
    service: FaultyService,
) -> None:
    running = [service.add(kind) for kind in ("wait", "wait-thread", "wait-process")]
    for task_id in running:
        service.begun(task_id, 1)
    accepted = [service.submit("/notify/", NOTIFICATION)]
    kill(service.registry_pid(), signal.SIGKILL)
    answers = [service.post("/notify/", NOTIFICATION)]
    while answers[-1].status_code != 202:
        assert answers[-1].status_code == 503
        assert int(answers[-1].headers["retry-after"]) >= 1
        answers.append(service.post("/notify/", NOTIFICATION))

    accepted.append(answers[-1].json()["task_id"])
    service.open_gate()
    assert {task.state for task in service.all_ended(accepted + running)} == {"success"}
    # What ran went on: its worker has presented the claims again.
    assert [service.beginnings(task_id) for task_id in running] == [1, 1, 1]
    service.gate.unlink()


def test_a_stopped_registry_is_ended_and_another_accepts(
    service: FaultyService,
) -> None:
    running = service.add("wait")
    service.begun(running, 1)
    accepted = [service.submit("/notify/", NOTIFICATION)]
    stopped = service.registry_pid()
    kill(stopped, signal.SIGSTOP)
    wait_for(lambda: service.registry_pid() != stopped, "another registry")
    accepted.append(
        wait_for(
            lambda: (
                (answer := service.post("/notify/", NOTIFICATION)).status_code == 202
                and answer.json()["task_id"]
            ),
            "a task accepted",
        )
    )

    service.open_gate()
    assert {task.state for task in service.all_ended([*accepted, running])} == {"success"}
    service.gate.unlink()


def test_after_the_death_of_everything_all_tasks_begin_before_their_leases_end(
    fresh_service: FaultyService,
) -> None:
    service = fresh_service
    task_ids = [service.add(kind) for kind in ["wait"] * 20 + ["wait-thread", "wait-process"] * 2]
    for task_id in task_ids:
        service.begun(task_id, 1)
    waiting = service.submit("/notify/", {**NOTIFICATION, "email": "flaky@simulator.example"})
    service.kill_everything()
    service.start()

    for task_id in task_ids:
        service.begun(task_id, 2)
    service.open_gate()
    assert {task.state for task in service.all_ended([*task_ids, waiting])} == {"success"}


def test_a_master_killed_alone_can_be_started_again_at_once(fresh_service: FaultyService) -> None:
    service = fresh_service
    task_ids = [service.add(kind) for kind in ("wait", "wait-process")]
    for task_id in task_ids:
        service.begun(task_id, 1)
    assert service.master is not None
    service.master.kill()
    service.master.wait()
    service.start()

    for task_id in task_ids:
        service.begun(task_id, 2)
    service.open_gate()
    assert {task.state for task in service.all_ended(task_ids)} == {"success"}
    # The orphaned worker was ended before its tasks were given away: no attempt beside another.
    assert {mark.attempt for mark in service.trace() if mark.word == "end"} == {2}


def test_a_frozen_worker_is_ended_and_its_tasks_of_every_kind_begin_elsewhere(
    busy_service: FaultyService,
) -> None:
    service = busy_service
    kinds = ["wait"] * 4 + ["wait-process", "wait-thread"] * 2
    task_ids = [service.add(kind) for kind in kinds]
    begun = {task_id: service.begun(task_id, 1).parent for task_id in task_ids}
    before = service.worker_pids()
    frozen = next(pid for pid in begun.values() if pid in before)
    held = [task_id for task_id, pid in begun.items() if pid == frozen]
    assert len(held) == 4
    kill(frozen, signal.SIGSTOP)
    for task_id in held:
        service.begun(task_id, 2)
        # Nothing of it was given away while it could have gone on.
        assert frozen not in service.worker_pids()
    wait_for(lambda: len(service.worker_pids()) == 2, "a new worker in the place of the frozen one")
    service.open_gate()

    assert {task.state for task in service.all_ended(task_ids)} == {"success"}
    ends = [mark.task_id for mark in service.trace() if mark.word == "end"]
    assert sorted(ends) == sorted(task_ids)


def test_a_worker_whose_event_loop_stalls_for_longer_than_its_lease_loses_nothing(
    service_of_short_leases: FaultyService,
) -> None:
    service = service_of_short_leases
    task_ids = [service.add(kind) for kind in ["wait"] * 4 + ["wait-thread", "wait-process"] * 2]
    for task_id in task_ids:
        service.begun(task_id, 1)
    workers = service.worker_pids()
    for pid in workers:
        kill(pid, STALL)
    wait_for(lambda: _does_not_answer(service), "the loops stall")
    service.open_gate()

    for task in service.all_ended(task_ids):
        assert (task.state, task.attempt, task.lost_attempts) == ("success", 1, 0)
    assert service.worker_pids() == workers


def _does_not_answer(service: FaultyService) -> bool:
    try:
        service.client.get("/healthz", timeout=1.0)
    except httpx.TimeoutException:
        return True
    return False


def test_a_worker_that_is_frozen_when_its_master_dies_does_not_keep_the_service_down(
    service_of_short_leases: FaultyService,
) -> None:
    service = service_of_short_leases
    task_id = service.add("wait")
    old = service.worker_pids()
    kill(service.begun(task_id, 1).pid, signal.SIGSTOP)
    assert service.master is not None
    service.master.kill()
    service.master.wait()

    def is_up() -> bool:
        # As a supervisor does it: the address may be in use for a while.
        assert service.master is not None
        if service.master.poll() is not None:
            service.start(ready=False)
        with suppress(httpx.TransportError):
            return service.get("/readyz").is_success and not set(old) & set(service.processes())
        return False

    wait_for(is_up, "the service up again")
    service.open_gate()
    assert service.ended(task_id).attempt == 2
