"""Task types of somebody's own, served: in coroutines, threads and processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import AFTERWARDS, wait_for
from tests.integration.own_types import OwnTypesService, serving

# Not importable by the tests, and named as others name theirs.
SHOP = """
import asyncio, json, os, sys, time
from pathlib import Path
from pydantic import BaseModel
from afterwards import Cancelled, RetryPolicy, TaskContext, TaskType

class Job(BaseModel):
    gate: str = ""

def facts(context):
    context.logger.info("at work", where="here")
    return {
        "task_id": context.task_id,
        "attempt": context.attempt,
        "host": os.getpgid(0) == os.getpid(),
        "cwd_last": sys.path[-1] == os.getcwd(),
    }

def tell(payload: Job, context: TaskContext):
    context.progress(0.5, "telling")
    return facts(context)

async def tell_async(payload: Job, context: TaskContext):
    return tell(payload, context)

def wait(payload: Job, context: TaskContext):
    gate = Path(payload.gate)
    gate.with_name(gate.name + ".running").touch()
    while not gate.exists():
        if context.cancelled:
            gate.with_name(gate.name + ".seen").touch()
            raise Cancelled
        time.sleep(0.01)
    return {}

async def wait_async(payload: Job, context: TaskContext):
    gate = Path(payload.gate)
    gate.with_name(gate.name + ".running").touch()
    try:
        while not gate.exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        gate.with_name(gate.name + ".seen").touch()
        raise
    return {}

TELL = [
    TaskType("a-list-is-not-looked-into", Job, tell_async),
]
ASYNC = TaskType("tell-async", Job, tell_async)
THREAD = TaskType("tell-thread", Job, tell, executor="thread")
PROCESS = TaskType("tell-process", Job, tell, executor="process")
WAIT_ASYNC = TaskType("wait-async", Job, wait_async)
WAIT_THREAD = TaskType("wait-thread", Job, wait, executor="thread")
WAIT_PROCESS = TaskType("wait-process", Job, wait, executor="process")
"""

KINDS = ("async", "thread", "process")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with somebody's package in it, whose modules shadow whatever they can."""
    directory = tmp_path_factory.mktemp("shop")
    (directory / "shop").mkdir()
    (directory / "shop" / "__init__.py").touch()
    (directory / "shop" / "tasks.py").write_text(SHOP)
    for taken in ("app.py", "executors.py", "pydantic.py"):
        (directory / taken).write_text("raise RuntimeError('imported in place of another')")
    return directory


@pytest.fixture(scope="module")
def service(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnTypesService]:
    with serving(tmp_path_factory.mktemp("service"), shop, task_modules="shop.tasks") as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_where_its_type_says(service: OwnTypesService, kind: str) -> None:
    task_id = service.add(f"tell-{kind}", kind, {})
    document = service.finished(task_id)
    assert (document["status"], document["error"]) == ("success", None)
    assert document["result"] == {
        "task_id": task_id,
        "attempt": 1,
        "host": True,
        "cwd_last": True,
    }
    line = wait_for(lambda: log_line(service, task_id), "the task's own line")
    assert (line["logger_name"], line["type"]) == (f"task.tell-{kind}", f"tell-{kind}")
    assert (line["attempt"], line["where"]) == (1, "here")


def log_line(service: OwnTypesService, task_id: str) -> dict[str, Any] | None:
    for text in service.log_file.read_text().splitlines():
        if task_id in text and '"at work"' in text:
            line: dict[str, Any] = json.loads(text)
            return line
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancellation_reaches_it(service: OwnTypesService, tmp_path: Path, kind: str) -> None:
    gate = tmp_path / "gate"
    task_id = service.add(f"wait-{kind}", kind, {"gate": str(gate)})
    wait_for(gate.with_name("gate.running").exists, "the attempt runs")
    service.cancel(task_id)
    wait_for(lambda: service.task(task_id).state == "cancelled", "cancelled")

    # A child is killed, and sees nothing.
    assert gate.with_name("gate.seen").exists() is (kind != "process")


def test_the_workers_are_told_with_the_hosts_that_run_attempts(
    service: OwnTypesService, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    ids = {service.add(f"wait-{kind}", kind, {"gate": str(gate)}): kind for kind in KINDS}

    def placed() -> dict[str, Any] | None:
        workers = service.get("/workers").json()["workers"]
        hosts = {host["pid"]: host for worker in workers for host in worker["hosts"]}
        found = {
            attempt["task_id"]: hosts.get(attempt["host_pid"])
            for worker in workers
            for attempt in worker["running"]
        }
        return found if all(found.get(task_id) for task_id in ids) else None

    found = wait_for(placed, "every attempt has a host")
    gate.touch()
    for task_id, kind in ids.items():
        host = found[task_id]
        assert (host["kind"], host["state"], host["stuck"]) == (kind, "running", 0)
        assert host["attempts"] >= 1
        assert host["memory_bytes"] > 2**20
        assert host["pid"] in service.processes()
        service.finished(task_id)
    [worker, *_] = service.get("/workers").json()["workers"]
    assert worker["pid"] in service.worker_pids()
    assert worker["memory_bytes"] > 2**20


@pytest.mark.parametrize("kind", KINDS)
def test_where_it_failed_is_told_from_its_function_on(
    service: OwnTypesService, tmp_path: Path, kind: str
) -> None:
    nowhere = tmp_path / "nowhere" / "gate"
    task_id = service.add(f"wait-{kind}", kind, {"gate": str(nowhere)})
    service.finished(task_id)

    shown = service.client.get(f"/tasks/{task_id}?tracebacks=1").json()
    lines = shown["history"][-1]["traceback"].splitlines()
    assert lines[1].endswith(", in wait" if kind != "async" else ", in wait_async")
    assert lines[2].strip() == 'gate.with_name(gate.name + ".running").touch()'
    assert lines[-1].startswith("FileNotFoundError: ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_that_was_accepted_for_another_executor_is_run_all_the_same(
    service: OwnTypesService, kind: str
) -> None:
    # The type has changed since: its tasks keep the slot that they were accepted for.
    for stored in set(KINDS) - {kind}:
        document = service.finished(service.add(f"tell-{kind}", stored, {}))
        assert (document["status"], document["error"]) == ("success", None)


def test_a_type_of_a_module_that_is_named_no_more_fails_and_says_so(
    service: OwnTypesService,
) -> None:
    document = service.finished(service.add("a-list-is-not-looked-into", "async", {}))
    assert document["error"].startswith("There is no task type 'a-list-is-not-looked-into'")


@pytest.mark.parametrize(
    "command",
    [
        (str(AFTERWARDS), "serve"),
        (
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "afterwards.main:create_app",
            "--app-dir",
            "/",
        ),
    ],
)
def test_a_mistake_in_a_module_ends_the_start_with_one_line(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "wrong.py").write_text("\nimport nowhere\n")
    ended = subprocess.run(
        command,
        env={
            **os.environ,
            "AFTERWARDS_TASK_MODULES": "wrong",
            "AFTERWARDS_DATA_DIR": str(tmp_path / "data"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "afterwards: AFTERWARDS_TASK_MODULES: wrong: ModuleNotFoundError: "
        f"No module named 'nowhere' ({tmp_path}/wrong.py, line 2)\n"
    )
    assert not (tmp_path / "data").exists()
