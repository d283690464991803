"""A service with a Dask cluster: real scheduler, real workers, and tasks of a task module."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.dask_cluster import DaskCluster
from tests.executors.conftest import is_gone
from tests.integration.conftest import AFTERWARDS, Service, wait_for

pytestmark = [pytest.mark.machines]

MODULE = """
import os, time
from pathlib import Path
from pydantic import BaseModel
from afterwards import TaskType

VERSION = {version}

class Job(BaseModel):
    gate: str = ""

def tell(payload: Job, context):
    context.progress(0.5, "half of it")
    print("said from afar")
    return {{"version": VERSION, "parent": os.getppid()}}

def wait(payload: Job, context):
    with open(payload.gate + ".pids", "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    while not Path(payload.gate).exists():
        time.sleep(0.01)
    return {{"attempt": context.attempt}}

def follow(payload: Job, context):
    context.submit("tell", {{}})
    return {{}}

TELL = TaskType("tell", Job, tell, executor="dask")
WAIT = TaskType("wait", Job, wait, executor="dask")
FOLLOW = TaskType("follow", Job, follow, executor="dask")
MOVED = TaskType("moved", Job, tell, executor="process")
GPU = TaskType("gpu", Job, tell, executor="dask", dask_resources={{"GPU": 1}})
NAMED = TaskType("named", Job, tell, executor="dask", dask_workers=["special"])
"""


class ClusterService(Service):
    """A service with a task module and a cluster."""

    def __init__(self, directory: Path, cluster: DaskCluster, **settings: str) -> None:
        super().__init__(
            directory,
            **{
                "task_modules": "far_tasks",
                "dask_scheduler": cluster.address,
                "dask_takes_processes": "true",
                "workers": "1",
                "lease_seconds": "5",
                **settings,
            },
        )
        self.module = directory / "code" / "far_tasks.py"
        self.module.parent.mkdir()
        self.set_plain(PYTHONPATH=str(self.module.parent))
        self.write(1)

    def write(self, version: int) -> None:
        self.module.write_text(MODULE.format(version=version))

    def run(self, type_name: str, **payload: Any) -> str:
        answer = self.post("/tasks", {"type": type_name, "payload": payload})
        assert answer.status_code == 202, answer.text
        task_id: str = answer.json()["id"]
        return task_id

    def result(self, type_name: str) -> dict[str, Any]:
        task_id = self.run(type_name)
        assert self.finished(task_id)["status"] == "success"
        found: dict[str, Any] = self.get(f"/tasks/{task_id}").json()
        return found

    def slots(self) -> int:
        """The number of its slots on the cluster."""
        for line in self.get("/metrics").text.splitlines():
            if line.startswith('afterwards_executor_slots{executor="dask",state="free"}'):
                return int(float(line.rpartition(" ")[2]))
        return 0


MakeService = Callable[..., ClusterService]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    directory = tmp_path / "dask"
    directory.mkdir()
    cluster = DaskCluster(directory)
    yield cluster
    cluster.close()


@pytest.fixture
def make(tmp_path: Path, cluster: DaskCluster) -> Iterator[MakeService]:
    made: list[ClusterService] = []

    def make(**settings: str) -> ClusterService:
        directory = tmp_path / f"service{len(made)}"
        directory.mkdir()
        made.append(ClusterService(directory, cluster, **settings))
        return made[-1]

    yield make
    for service in made:
        service.kill_everything()
        service.client.close()


def pids_of_runs(gate: Path) -> list[int]:
    file = gate.with_name(gate.name + ".pids")
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def test_attempts_run_on_the_cluster_as_they_do_at_home(
    cluster: DaskCluster, make: MakeService
) -> None:
    worker = cluster.start_worker()
    service = make()
    service.start()
    task = service.result("tell")

    assert (task["result"], task["executor"]) == ({"version": 1, "parent": worker.pid}, "dask")
    (attempt,) = task["history"]
    assert attempt["peak_memory_bytes"] > 2**20
    assert attempt["cpu_seconds"] >= 0
    assert "said from afar" in service.log_file.read_text()
    assert service.result("moved")["result"]["parent"] == worker.pid

    follow = service.result("follow")
    (child,) = service.get(f"/tasks?parent={follow['id']}").json()["tasks"]
    assert service.finished(child["id"])["status"] == "success"

    service.write(2)
    subprocess.run(
        [AFTERWARDS, "reload", "--data-dir", service.data_dir], check=True, capture_output=True
    )
    assert service.result("tell")["result"] == {"version": 2, "parent": worker.pid}
    assert service.stop() == 0


def test_restricted_types_wait_for_a_worker_that_may_run_them(
    cluster: DaskCluster, make: MakeService
) -> None:
    plain = cluster.start_worker()
    service = make()
    service.start()
    gpu, named = service.run("gpu"), service.run("named")
    assert service.result("tell")["result"]["parent"] == plain.pid
    assert {service.get(f"/status/{one}").json()["status"] for one in (gpu, named)} <= {
        "pending",
        "processing",
    }
    able = cluster.start_worker("--resources", "GPU=1")
    special = cluster.start_worker(name="special")

    for task_id, worker in ((gpu, able), (named, special)):
        assert service.finished(task_id)["status"] == "success"
        assert service.get(f"/tasks/{task_id}").json()["result"]["parent"] == worker.pid


def test_a_service_without_its_scheduler_starts_and_its_tasks_wait(
    cluster: DaskCluster, make: MakeService
) -> None:
    cluster.kill(cluster.scheduler)
    service = make()
    service.start()
    task_id = service.run("tell")

    def waiting() -> list[str]:
        found: list[str] = service.get("/readyz").json().get("waiting", [])
        return found

    wait_for(lambda: waiting() == ["dask"], "the executor waits")
    assert service.get(f"/status/{task_id}").json()["status"] == "pending"
    assert "Dask scheduler cannot be reached" in service.log_file.read_text()
    cluster.start_scheduler()
    cluster.start_worker()
    assert service.finished(task_id)["status"] == "success"
    wait_for(lambda: not waiting(), "it waits no more")


def test_slots_follow_the_cluster(cluster: DaskCluster, make: MakeService) -> None:
    service = make()
    service.start()
    wait_for(lambda: service.slots() == 4, "some for a cluster to grow by")
    first = cluster.start_worker(threads=2)
    wait_for(lambda: service.slots() == 2 + 4, "as many more as it has threads")
    cluster.start_worker(threads=3)
    wait_for(lambda: service.slots() == 5 + 4, "and as many more again")
    cluster.kill(first)
    wait_for(lambda: service.slots() == 3 + 4, "fewer")


def test_a_scheduler_that_runs_tasks_again_is_refused_at_the_start(
    tmp_path: Path, make: MakeService
) -> None:
    directory = tmp_path / "again"
    directory.mkdir()
    again = DaskCluster(directory, {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3"})
    try:
        service = make(dask_scheduler=again.address)
        service.start(ready=False)
        assert service.master is not None
        assert service.master.wait(30) == 2
    finally:
        again.close()

    log = service.log_file.read_text()
    assert "AFTERWARDS_DASK_SCHEDULER" in log
    assert "allowed-failures: 3" in log
    assert "Traceback" not in log


def test_a_type_that_needs_a_cluster_is_refused_without_one(make: MakeService) -> None:
    service = make(dask_scheduler="")
    service.start(ready=False)
    assert service.master is not None
    assert service.master.wait(30) == 2

    assert "needs a Dask cluster: set AFTERWARDS_DASK_SCHEDULER" in service.log_file.read_text()


def test_a_task_whose_dask_worker_is_killed_is_tried_again(
    cluster: DaskCluster, make: MakeService, tmp_path: Path
) -> None:
    worker = cluster.start_worker()
    service = make()
    service.start()
    gate = tmp_path / "gate"
    task_id = service.run("wait", gate=str(gate))
    (first,) = wait_for(lambda: pids_of_runs(gate), "it runs")
    cluster.kill(worker)
    cluster.start_worker()
    _, second = wait_for(lambda: pids_of_runs(gate)[1:] and pids_of_runs(gate), "it runs again")

    assert first != second
    assert is_gone(first)
    gate.touch()
    assert service.finished(task_id)["status"] == "success"
    history = service.get(f"/tasks/{task_id}").json()["history"]
    assert [one["outcome"] for one in history][1:] == ["success"]
    assert "Dask worker" in history[0]["error"]


@pytest.mark.parametrize("whole", [False, True], ids=["worker", "service"])
def test_a_task_whose_web_worker_is_killed_runs_again_once_its_attempt_is_over(
    cluster: DaskCluster, make: MakeService, tmp_path: Path, whole: bool
) -> None:
    cluster.start_worker()
    service = make()
    service.start()
    gate = tmp_path / "gate"
    task_id = service.run("wait", gate=str(gate))
    (first,) = wait_for(lambda: pids_of_runs(gate), "it runs")
    if whole:
        service.kill_everything()
        service.start()
    else:
        os.kill(service.worker_pids()[0], signal.SIGKILL)
    _, second = wait_for(lambda: pids_of_runs(gate)[1:] and pids_of_runs(gate), "it runs again")

    assert first != second
    assert is_gone(first)
    gate.touch()
    assert service.finished(task_id)["status"] == "success"
    assert len(pids_of_runs(gate)) == 2


def test_a_running_task_is_cancelled(
    cluster: DaskCluster, make: MakeService, tmp_path: Path
) -> None:
    cluster.start_worker()
    service = make()
    service.start()
    gate = tmp_path / "gate"
    task_id = service.run("wait", gate=str(gate))
    (pid,) = wait_for(lambda: pids_of_runs(gate), "it runs")
    assert service.post(f"/tasks/{task_id}/cancel").status_code in (200, 202)

    service.finished(task_id)
    assert service.get(f"/tasks/{task_id}").json()["status"] == "cancelled"
    assert is_gone(pid)
