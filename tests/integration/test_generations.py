"""Task code is deployed while the service works: nothing is refused, nothing is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from afterwards.errors import NotReloaded
from afterwards.server.reload import reload
from tests.integration.conftest import AFTERWARDS, started, wait_for
from tests.integration.own_types import OwnTypesService

MODULE = """
import asyncio, time
from pathlib import Path
from pydantic import BaseModel
from afterwards import Interrupted, TaskType

VERSION = {version}

class Job(BaseModel):
    gate: str = ""

async def tell(payload: Job, context):
    return {{"version": VERSION}}

async def wait_async(payload: Job, context):
    gate = Path(payload.gate)
    gate.with_name(gate.name + ".running").touch()
    while not gate.exists():
        await asyncio.sleep(0.01)
    return {{"version": VERSION}}

def wait(payload: Job, context):
    gate = Path(payload.gate)
    gate.with_name(gate.name + ".running").touch()
    while not gate.exists():
        time.sleep(0.01)
    return {{"version": VERSION}}

def save(payload: Job, context):
    gate = Path(payload.gate)
    gate.with_name(gate.name + ".running").touch()
    while not gate.exists():
        if context.stopping:
            gate.with_name(gate.name + ".saved").touch()
            raise Interrupted("saved")
        time.sleep(0.01)
    return {{"version": VERSION}}

TELL = TaskType("tell", Job, tell)
SAVE = TaskType("save", Job, save, executor="process")
WAIT_ASYNC = TaskType("wait-async", Job, wait_async)
WAIT_THREAD = TaskType("wait-thread", Job, wait, executor="thread")
WAIT_PROCESS = TaskType("wait-process", Job, wait, executor="process")
"""
TIME = 1_700_000_000
NEW_TYPE = 'ONLY = TaskType("only-in-{version}", Job, tell)\n'

KINDS = ("async", "thread", "process")


class Shop(OwnTypesService):
    """A service whose task code is deployed now and then."""

    version = 0

    def deploy(self, more: str = "") -> str:
        """The next version; returns what `afterwards reload` says."""
        self.version += 1
        self.write(MODULE.format(version=self.version) + more.format(version=self.version))
        return reload(self.data_dir)

    def write(self, text: str) -> None:
        """Replace the module in one step."""
        new = self.directory / "code.new"
        new.write_text(text)
        # Versions of one length cannot be told apart by Python's own means.
        os.utime(new, (TIME, TIME))
        new.replace(self.directory / "code_of_shop.py")

    def begin(self, type_name: str, **payload: str) -> str:
        """Submit a task, and return its id."""
        answer = self.post("/tasks", {"type": type_name, "payload": payload})
        assert answer.status_code == 202, answer.text
        task_id: str = answer.json()["id"]
        return task_id

    def told(self) -> int:
        """The version of the code that a task runs under that is submitted now."""
        answer = self.post("/tasks?wait=20", {"type": "tell"})
        assert answer.json()["status"] == "success", answer.text
        version: int = answer.json()["result"]["version"]
        return version

    def all_run(self, version: int) -> bool:
        """True if all workers run this version; as far as ten tasks can tell."""
        return {self.told() for _ in range(10)} == {version}

    def log(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log about an event."""
        lines = self.log_file.read_text().splitlines()
        found = [json.loads(line) for line in lines if event in line and line.startswith("{")]
        return [line for line in found if line["event"].startswith(event)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    service = Shop(tmp_path_factory.mktemp("service"), task_modules="code_of_shop")
    service.directory = tmp_path_factory.mktemp("shop")
    service.version = 1
    service.write(MODULE.format(version=1))
    with started(service):
        yield service


class Requests:
    """Submits tasks from some threads, steadily, and keeps what went wrong."""

    def __init__(self, service: Shop, threads: int = 4) -> None:
        self._service = service
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._submit) for _ in range(threads)]
        self.accepted: list[str] = []
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _submit(self) -> None:
        with httpx.Client(base_url=self._service.url, timeout=30) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post("/tasks", json={"type": "tell"})
                    if answer.status_code == 202:
                        self.accepted.append(answer.json()["id"])
                    else:
                        self.wrong.append(answer.text)
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))
                self._stop.wait(0.02)


@pytest.mark.thorough
@pytest.mark.timeout(240)
def test_ten_deployments_in_a_row_fail_no_request(service: Shop) -> None:
    workers = service.worker_pids()
    with Requests(service) as requests:
        for _ in range(10):
            assert service.deploy().endswith(": 5 task types")
        latest = service.version
        # All workers have it by then.
        assert service.all_run(latest)
    assert requests.wrong == []
    assert len(requests.accepted) > 100
    assert service.finished(requests.accepted[-1])["result"] == {"version": latest}
    ended = wait_for(lambda: service.all_final(requests.accepted), "all tasks ended")
    assert {task.state for task in ended} == {"success"}
    assert service.worker_pids() == workers


def test_attempts_end_under_the_code_that_they_began_with(service: Shop, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = service.version
    running = []
    for kind in KINDS:
        own = gate.with_name(f"gate-{kind}")
        running.append(service.begin(f"wait-{kind}", gate=str(own)))
    wait_for(lambda: len(list(tmp_path.glob("*.running"))) == len(KINDS), "they run")
    service.deploy()
    service.deploy()
    wait_for(lambda: service.all_run(first + 2), "the new code runs")
    for kind in KINDS:
        gate.with_name(f"gate-{kind}").touch()
    for task_id in running:
        service.finished(task_id)
        document = service.get(f"/tasks/{task_id}").json()
        assert (document["status"], document["attempts"]) == ("success", 1)
        assert document["result"] == {"version": first}


def test_a_deployment_brings_types_and_takes_them_away(service: Shop) -> None:
    service.deploy(NEW_TYPE)
    name = f"only-in-{service.version}"

    def answers() -> set[int]:
        return {service.get(f"/task-types/{name}").status_code for _ in range(10)}

    wait_for(lambda: answers() == {200}, "all workers know it")
    assert name in service.get("/openapi.json").text
    task_id = service.begin(name)
    assert service.finished(task_id)["status"] == "success"
    service.deploy()
    wait_for(lambda: answers() == {404}, "no worker knows it")
    assert name not in service.get("/openapi.json").text
    assert service.post("/tasks", {"type": name}).status_code == 422


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ("\n\nimport nowhere\n", "(FOLDER/code_of_shop.py, line 3)"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "SIGKILL"),
    ],
)
def test_a_module_that_cannot_be_used_changes_nothing_and_is_one_line(
    service: Shop, broken: str, where: str
) -> None:
    service.write(broken)
    try:
        before = len(service.log("task code is not renewed"))
        with pytest.raises(NotReloaded) as refusal:
            reload(service.data_dir)
        place = where.replace("FOLDER", str(service.directory))
        assert place in str(refusal.value)
        (line,) = service.log("task code is not renewed")[before:]
        assert place in line["error"]
        wait_for(lambda: service.all_run(service.version), "the former code goes on")
    finally:
        service.deploy()


def test_the_command_says_what_became_of_it_and_ends_accordingly(service: Shop) -> None:
    def command() -> tuple[int, str, str]:
        run = subprocess.run(
            [AFTERWARDS, "reload", "--data-dir", service.data_dir],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return run.returncode, run.stdout, run.stderr

    status, out, err = command()
    assert (status, err) == (0, "")
    assert out.startswith("generation ")
    assert out.endswith(": 5 task types\n")
    service.write("x = (\n")
    try:
        status, out, err = command()
        assert (status, out) == (1, "")
        assert err.startswith("afterwards: The task code is not renewed: AFTERWARDS_TASK_MODULES: ")
        assert err.count("\n") == 1
    finally:
        service.deploy()


def test_workers_that_are_forked_later_have_the_latest_code(service: Shop) -> None:
    service.deploy()
    old = service.worker_pids()
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_for(
        lambda: len(service.worker_pids()) == 2 and not {*old} & {*service.worker_pids()}, "new"
    )
    wait_for(service.is_ready, "they serve")
    wait_for(lambda: service.all_run(service.version), "the latest code runs")


def test_what_a_fourth_generation_ends_runs_again_uncounted(service: Shop, tmp_path: Path) -> None:
    interruptible = service.begin("save", gate=str(tmp_path / "gate"))
    wait_for((tmp_path / "gate.running").exists, "it runs")
    began = service.version
    for _ in range(3):
        service.deploy()
        wait_for(lambda: service.all_run(service.version), "the new code runs")
    wait_for((tmp_path / "gate.saved").exists, "it is asked to stop")
    (tmp_path / "gate").touch()
    assert service.finished(interruptible)["result"] == {"version": began + 3}
    history = service.get(f"/tasks/{interruptible}").json()["history"]
    assert [one["outcome"] for one in history] == ["released", "success"]
    assert history[0]["error"] == "Stopped when it was asked to"


def test_files_are_watched_if_that_is_asked_for(tmp_path: Path) -> None:
    class Watching(Shop):
        command = (str(AFTERWARDS), "serve", "--reload")

    service = Watching(tmp_path, task_modules="code_of_shop", workers="1")
    service.directory = tmp_path / "shop"
    service.directory.mkdir()
    service.write(MODULE.format(version=1))
    service.start()
    try:
        service.write("x = (")
        wait_for(lambda: service.log("task code is not renewed"), "a line about the mistake")
        assert service.told() == 1
        service.write(MODULE.format(version=2))
        wait_for(lambda: service.told() == 2, "the new code runs")
        assert service.stop() == 0
    finally:
        service.kill_everything()
