"""Losses on a Dask cluster, with real kills: each is noticed, and no call runs twice at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from afterwards_executors.base import End, Name, Outcome, Work
from afterwards_executors.cluster.executor import ClusterExecutor
from loadtests.dask_cluster import ROOT, DaskCluster
from tests.executors import work
from tests.executors.conftest import DEADLINE_SECONDS, is_gone, is_running, wait_until
from tests.executors.dask_cluster import LEASE_SECONDS, cluster_executor
from tests.executors.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.processes, pytest.mark.machines]

MakeClusterExecutor = Callable[..., ClusterExecutor]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """A cluster of its own, with one worker."""
    directory = tmp_path / "dask"
    directory.mkdir()
    cluster = DaskCluster(directory)
    cluster.start_worker()
    yield cluster
    cluster.close()


@pytest.fixture
def make(cluster: DaskCluster) -> Iterator[MakeClusterExecutor]:
    made: list[ClusterExecutor] = []

    def make(slots: int = 8, address: str | None = None) -> ClusterExecutor:
        executor = cluster_executor(slots, cluster=cluster, address=address)
        made.append(executor)
        executor.start()
        wait_until(lambda: executor.slots().total == slots)
        return executor

    yield make
    for executor in made:
        executor.shutdown(5.0)


@pytest.fixture
def executor(make: MakeClusterExecutor) -> ClusterExecutor:
    return make()


def waiting(path: Path, number: int = 1, *, crowd: int | None = None) -> Work:
    """A call that counts its runs and waits for its file."""
    name = Name("tests", path.name, number)
    return Work(work.count_and_wait, (str(path),), name=name, crowd=crowd)


def pids_of_runs(path: Path) -> list[int]:
    """The processes in which it has begun, one for each run."""
    count = path.with_name(path.name + ".count")
    return [int(pid) for pid in count.read_text().split()] if count.exists() else []


def pid_of_run(path: Path) -> int:
    return int(wait_until(lambda: pids_of_runs(path))[-1])


def outcome_of(future: Future[Outcome]) -> Outcome:
    return future.result(DEADLINE_SECONDS + LEASE_SECONDS)


def test_a_call_that_ends_its_process_is_lost_and_its_worker_goes_on(
    executor: ClusterExecutor,
) -> None:
    outcome = outcome_of(executor.submit(Work(work.exit_at_once, (3,))))

    assert (outcome.end, outcome.transient) == (End.LOST, True)
    assert outcome.error == "The process that ran it exited with status 3"
    assert outcome_of(executor.submit(Work(work.succeed))).end is End.SUCCEEDED


def test_a_worker_that_is_killed_makes_suspects_of_its_calls(
    cluster: DaskCluster, executor: ClusterExecutor, tmp_path: Path
) -> None:
    gates = [tmp_path / name for name in ("a", "b")]
    futures = [executor.submit(waiting(gate)) for gate in gates]
    pids = [pid_of_run(gate) for gate in gates]
    time.sleep(0.5)  # for longer than a call has to run before it is told of
    cluster.kill(cluster.workers[0])
    cluster.start_worker()

    for future in futures:
        outcome = outcome_of(future)
        assert (outcome.end, outcome.transient, outcome.crowd) == (End.SUSPECTED, True, 2)
        assert "Dask worker" in (outcome.error or "")
    assert all(is_gone(pid) for pid in pids)
    assert [len(pids_of_runs(gate)) for gate in gates] == [1, 1]
    wait_until(lambda: executor.slots().total > 0)
    assert outcome_of(executor.submit(Work(work.succeed))).end is End.SUCCEEDED


def test_a_suspect_that_ran_alone_is_lost_with_its_worker(
    cluster: DaskCluster, executor: ClusterExecutor, tmp_path: Path
) -> None:
    gate, neighbour = tmp_path / "alone", tmp_path / "neighbour"
    future = executor.submit(waiting(gate, crowd=1))
    pid_of_run(gate)
    executor.submit(waiting(neighbour))
    time.sleep(0.5)
    assert not pids_of_runs(neighbour)
    cluster.kill(cluster.workers[0])

    assert outcome_of(future).end is End.LOST


def test_a_call_that_only_waited_for_a_killed_worker_is_released(
    cluster: DaskCluster, executor: ClusterExecutor, tmp_path: Path
) -> None:
    gates = [tmp_path / str(number) for number in range(8)]  # its worker has four threads
    futures = [executor.submit(waiting(gate)) for gate in gates]
    wait_until(lambda: sum(bool(pids_of_runs(gate)) for gate in gates) == 4)
    time.sleep(0.5)
    cluster.kill(cluster.workers[0])
    ends = [outcome_of(future).end for future in futures]

    assert ends.count(End.SUSPECTED) == ends.count(End.RELEASED) == 4
    for end, gate in zip(ends, gates, strict=True):
        assert (end is End.SUSPECTED) == bool(pids_of_runs(gate))


@pytest.mark.parametrize("is_in_order", [True, False], ids=["in order", "at once"])
def test_a_worker_that_is_retired_has_no_call_run_twice(
    cluster: DaskCluster, executor: ClusterExecutor, tmp_path: Path, is_in_order: bool
) -> None:
    gate = tmp_path / "gate"
    future = executor.submit(waiting(gate))
    pid = pid_of_run(gate)
    cluster.start_worker()
    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(2)
        if is_in_order:
            client.retire_workers(names=["worker-1"])
        else:
            client.run_on_scheduler(forget_the_first_worker)
    outcome = outcome_of(future)

    assert (outcome.end, len(pids_of_runs(gate))) == (End.CANCELLED, 1)
    assert is_gone(pid)
    again = executor.submit(waiting(gate, number=2))
    wait_until(lambda: len(pids_of_runs(gate)) == 2)
    gate.touch()
    assert outcome_of(again).end is End.SUCCEEDED


def test_an_adaptive_cluster_keeps_the_workers_with_calls(
    cluster: DaskCluster, executor: ClusterExecutor, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    future = executor.submit(waiting(gate))
    pid_of_run(gate)

    def to_close(dask_scheduler: Any) -> list[str]:
        addresses: list[str] = dask_scheduler.workers_to_close(n=1)
        return addresses

    with Client(cluster.address, set_as_default=False) as client:
        assert client.run_on_scheduler(to_close) == []
        gate.touch()
        assert outcome_of(future).end is End.SUCCEEDED
        wait_until(lambda: len(client.run_on_scheduler(to_close)) == 1)


def test_a_call_sees_that_it_had_better_end(executor: ClusterExecutor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    future = executor.submit(Work(work.wait_until_stopping, (str(gate),)))
    wait_until(lambda: is_running(gate))
    executor.wind_up()

    assert outcome_of(future).end is End.SUCCEEDED


def test_a_worker_that_is_frozen_keeps_no_call_running(
    cluster: DaskCluster, executor: ClusterExecutor, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    future = executor.submit(waiting(gate))
    pid = pid_of_run(gate)
    time.sleep(0.5)
    frozen = cluster.workers[0]
    frozen.send_signal(signal.SIGSTOP)
    wait_until(lambda: is_gone(pid))
    outcome = outcome_of(future)

    assert outcome.end is End.CANCELLED
    assert "was not heard of any more" in (outcome.error or "")
    frozen.send_signal(signal.SIGCONT)
    gate.touch()
    assert outcome_of(executor.submit(waiting(gate, number=2))).end is End.SUCCEEDED


def test_a_call_that_waits_for_a_frozen_worker_can_be_cancelled(
    cluster: DaskCluster, executor: ClusterExecutor, tmp_path: Path
) -> None:
    gates = [tmp_path / str(number) for number in range(5)]  # its worker has four threads
    futures = [executor.submit(waiting(gate)) for gate in gates]
    wait_until(lambda: sum(bool(pids_of_runs(gate)) for gate in gates) == 4)
    frozen = cluster.workers[0]
    frozen.send_signal(signal.SIGSTOP)
    ((gate, queued),) = [
        (gate, future)
        for gate, future in zip(gates, futures, strict=True)
        if not pids_of_runs(gate)
    ]
    assert executor.cancel(queued, "not wanted")

    assert outcome_of(queued).error == "not wanted"
    frozen.send_signal(signal.SIGCONT)
    again = outcome_of(executor.submit(Work(work.succeed)))
    assert (again.end, pids_of_runs(gate)) == (End.SUCCEEDED, [])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_scheduler_that_is_lost_costs_no_call_its_name(
    cluster: DaskCluster, executor: ClusterExecutor, tmp_path: Path, number: signal.Signals
) -> None:
    gate = tmp_path / "gate"
    future = executor.submit(waiting(gate))
    pid = pid_of_run(gate)
    scheduler = cluster.scheduler
    scheduler.send_signal(number)
    outcome = outcome_of(future)

    assert (outcome.end, is_gone(pid)) == (End.CANCELLED, True)
    assert "connection to the Dask scheduler was lost" in (outcome.error or "")
    assert executor.slots().total == 0
    assert "cannot be reached" in executor.problem
    cluster.kill(scheduler)
    cluster.start_scheduler()
    cluster.start_worker()
    wait_until(lambda: executor.slots().total > 0)
    gate.touch()
    assert outcome_of(executor.submit(waiting(gate, number=2))).end is End.SUCCEEDED
    assert len(pids_of_runs(gate)) == 2


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut", "silent"])
def test_a_connection_that_is_lost_ends_its_calls_at_the_other_end(
    cluster: DaskCluster, make: MakeClusterExecutor, tmp_path: Path, is_cut: bool
) -> None:
    with TcpProxy(cluster.address.removeprefix("tcp://")) as proxy:
        executor = make(address=f"tcp://{proxy.address}")
        gate = tmp_path / "gate"
        future = executor.submit(waiting(gate))
        pid = pid_of_run(gate)
        if is_cut:
            proxy.cut()
        else:
            proxy.hold()
        outcome = outcome_of(future)

        assert (outcome.end, is_gone(pid)) == (End.CANCELLED, True)
        proxy.release()
        wait_until(lambda: executor.slots().total > 0)
        gate.touch()
        assert outcome_of(executor.submit(waiting(gate, number=2))).end is End.SUCCEEDED
        assert len(pids_of_runs(gate)) == 2


def test_a_dask_client_that_is_killed_is_replaced_and_its_calls_end(
    executor: ClusterExecutor, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    future = executor.submit(waiting(gate))
    pid = pid_of_run(gate)
    (host,) = executor.hosts()
    os.kill(host.pid, signal.SIGKILL)
    wait_until(lambda: executor.slots().total == 0)
    outcome = outcome_of(future)

    assert (outcome.end, is_gone(pid)) == (End.CANCELLED, True)
    assert "the process with the Dask client was killed by SIGKILL" in (outcome.error or "")
    wait_until(lambda: executor.slots().total > 0)
    assert outcome_of(executor.submit(Work(work.succeed))).end is End.SUCCEEDED


def test_calls_end_with_the_process_that_has_submitted_them(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    script = (
        "import sys\n"
        "from tests.executors.test_cluster_losses import waiting\n"
        "from tests.executors.dask_cluster import cluster_executor\n"
        "from pathlib import Path\n"
        f"executor = cluster_executor(4, address={cluster.address!r})\n"
        "executor.start()\n"
        f"executor.submit(waiting(Path({str(gate)!r})))\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdin=subprocess.PIPE,
    ) as submitter:
        pid = pid_of_run(gate)
        submitter.kill()

    wait_until(lambda: is_gone(pid))


def test_a_later_call_begins_once_those_of_its_name_are_over_elsewhere(
    make: MakeClusterExecutor, tmp_path: Path
) -> None:
    first, second = make(), make()
    gate = tmp_path / "gate"
    future = first.submit(waiting(gate))
    pid = pid_of_run(gate)
    began = second.submit(
        Work(work.succeed_if_gone, (pid,), name=Name("tests", gate.name, 2)),
    )

    assert outcome_of(began).end is End.SUCCEEDED
    assert outcome_of(future).end is End.CANCELLED


def test_a_call_that_is_later_than_its_successor_never_begins(
    make: MakeClusterExecutor, tmp_path: Path
) -> None:
    executor = make()
    gate = tmp_path / "gate"
    gate.touch()
    assert outcome_of(executor.submit(waiting(gate, number=2))).end is End.SUCCEEDED
    late = outcome_of(executor.submit(waiting(gate, number=1)))

    assert (late.end, len(pids_of_runs(gate))) == (End.CANCELLED, 1)


def test_a_call_that_waits_for_a_worker_never_begins_after_its_successor(
    cluster: DaskCluster, make: MakeClusterExecutor, tmp_path: Path
) -> None:
    first, second = make(), make()
    cluster.kill(cluster.workers[0])
    wait_until(lambda: "no workers" in first.problem and "no workers" in second.problem)
    gate = tmp_path / "gate"
    gate.touch()
    early = first.submit(waiting(gate))
    wait_until(lambda: in_the_cluster(cluster, gate) == 1)
    later = second.submit(waiting(gate, number=2))
    wait_until(lambda: in_the_cluster(cluster, gate) == 2)
    cluster.start_worker()

    assert outcome_of(later).end is End.SUCCEEDED
    assert first.cancel(early, "not wanted")
    assert outcome_of(early).end is End.CANCELLED
    assert len(pids_of_runs(gate)) == 1


async def forget_the_first_worker(dask_scheduler: Any) -> None:
    """As a retirement does at its end, and without a word to the worker."""
    address = dask_scheduler.aliases["worker-1"]
    await dask_scheduler.remove_worker(address, expected=True, close=False, stimulus_id="test")


def in_the_cluster(cluster: DaskCluster, gate: Path) -> int:
    """The number of calls of this name that the scheduler has."""

    def count(dask_scheduler: Any) -> int:
        return sum(key[1].startswith(f"{gate.name}:") for key in dask_scheduler.tasks)

    with Client(cluster.address, set_as_default=False) as client:
        found: int = client.run_on_scheduler(count)
        return found


def test_a_scheduler_that_runs_calls_again_gets_none(tmp_path: Path) -> None:
    cluster = DaskCluster(tmp_path, {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3"})
    executor = cluster_executor(2, cluster=cluster)
    try:
        cluster.start_worker()
        executor.start()
        wait_until(lambda: "allowed-failures: 3" in executor.problem)
        assert executor.slots().total == 0
    finally:
        executor.shutdown(5.0)
        cluster.close()


def test_an_executor_waits_for_its_scheduler(tmp_path: Path) -> None:
    cluster = DaskCluster(tmp_path)
    cluster.kill(cluster.scheduler)
    executor = cluster_executor(2, cluster=cluster)
    try:
        executor.start()
        future = executor.submit(Work(work.succeed))
        wait_until(lambda: "cannot be reached" in executor.problem)
        assert executor.slots().total == 0
        cluster.start_scheduler()
        cluster.start_worker()
        assert outcome_of(future).end is End.SUCCEEDED
    finally:
        executor.shutdown(5.0)
        cluster.close()
