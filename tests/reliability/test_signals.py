"""Signals that ask for nothing, sent to every process: nobody ends, and no attempt is stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.integration.conftest import wait_for
from tests.reliability.conftest import FaultyService

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
HARMLESS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
IGNORED_BY_THE_REGISTRY = (signal.SIGTTIN, signal.SIGTTOU)


@pytest.fixture
def running(service: FaultyService) -> Iterator[list[str]]:
    """Attempts of each kind, begun; they end once the gate is open."""
    service.gate.unlink(missing_ok=True)
    task_ids = [service.add(kind) for kind in ("wait", "wait-thread", "wait-process")]
    for task_id in task_ids:
        service.begun(task_id, 1)
    yield task_ids
    service.open_gate()


def pids(service: FaultyService, running: list[str]) -> dict[str, list[int]]:
    """The service's processes by what they are."""
    assert service.master is not None
    children = {service.begun(task_id, 1).pid for task_id in running} - {*service.worker_pids()}
    return {
        "master": [service.master.pid],
        "workers": sorted(service.worker_pids()),
        "registry": [service.registry_pid()],
        "children": sorted(children),
    }


def ended_undisturbed(service: FaultyService, running: list[str]) -> None:
    service.finished(service.submit("/notify/", NOTIFICATION))
    service.open_gate()
    for task in service.all_ended(running):
        assert (task.state, task.attempt, task.lost_attempts) == ("success", 1, 0)
    assert [service.beginnings(task_id) for task_id in running] == [1, 1, 1]


@pytest.mark.parametrize("number", HARMLESS)
def test_a_signal_that_rotates_logs_or_the_like_harms_nobody(
    service: FaultyService, running: list[str], number: signal.Signals
) -> None:
    before = pids(service, running)

    for pid in (pid for of_a_kind in before.values() for pid in of_a_kind):
        os.kill(pid, number)

    service.finished(service.submit("/notify/", NOTIFICATION))
    assert pids(service, running) == before
    ended_undisturbed(service, running)


def test_a_hangup_of_registry_and_children_harms_nobody(
    service: FaultyService, running: list[str]
) -> None:
    before = pids(service, running)

    for pid in before["registry"] + before["children"]:
        os.kill(pid, signal.SIGHUP)

    service.finished(service.submit("/notify/", NOTIFICATION))
    assert pids(service, running) == before
    ended_undisturbed(service, running)


@pytest.mark.parametrize("number", IGNORED_BY_THE_REGISTRY)
def test_signals_that_change_the_number_of_workers_mean_nothing_to_the_registry(
    service: FaultyService, running: list[str], number: signal.Signals
) -> None:
    before = pids(service, running)

    os.kill(service.registry_pid(), number)

    service.finished(service.submit("/notify/", NOTIFICATION))
    assert pids(service, running) == before
    ended_undisturbed(service, running)


def test_a_worker_that_hangs_up_finishes_what_runs_and_is_replaced(
    service: FaultyService, running: list[str]
) -> None:
    worker = next(
        pid
        for task_id in running
        if (pid := service.begun(task_id, 1).parent) in service.worker_pids()
    )

    os.kill(worker, signal.SIGHUP)

    ended_undisturbed(service, running)
    wait_for(lambda: worker not in service.worker_pids(), "the worker ends")
    wait_for(lambda: len(service.worker_pids()) == 2, "another worker in its place")
