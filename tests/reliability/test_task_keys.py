"""Keys of tasks in a real service: two workers, kill -9 of everything, and newer task code."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import wait_for
from tests.integration.own_types import OwnTypesService, serving

TYPES = """
import asyncio, os
from pathlib import Path
from pydantic import BaseModel
from afterwards import TaskType

class Job(BaseModel):
    log: str
    key: str

def note(payload, what):
    with open(payload.log, "a") as log:
        log.write(f"{what} {payload.key} {os.getppid()}\\n")

async def work(payload: Job, context):
    note(payload, "+1")
    while not Path(payload.log + ".open").exists():
        await asyncio.sleep(0.01)
    note(payload, "-1")
    return {}

KEYED = TaskType("keyed", Job, work, concurrency_per_key=PER_KEY)
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    directory = tmp_path / "here"
    directory.mkdir()
    path = directory / "keyed.py"
    path.write_text(TYPES.replace("PER_KEY", "1"))
    return path


@pytest.fixture
def service(tmp_path: Path, module: Path) -> Iterator[OwnTypesService]:
    # So few slots that both workers are needed.
    with serving(tmp_path, module.parent, task_modules="keyed", async_slots="2") as running:
        yield running


def at_once(log: Path) -> Counter[str]:
    """The most attempts that have run at once, by key."""
    running, most = Counter[str](), Counter[str]()
    for line in log.read_text().splitlines():
        change, key, _ = line.split()
        running[key] += int(change)
        most[key] = max(most[key], running[key])
    return most


def submitted(service: OwnTypesService, log: Path, key: str, **members: Any) -> str:
    body = {"type": "keyed", "payload": {"log": str(log), "key": key}, "concurrency_key": key}
    answer = service.client.post("/tasks", json={**body, **members})
    assert answer.status_code == 202, answer.text
    task_id: str = answer.json()["id"]
    return task_id


def waiting_for(service: OwnTypesService, task_id: str) -> Any:
    return service.client.get(f"/tasks/{task_id}").json()["waiting_for"]


def test_keys_hold_over_workers_a_death_of_everything_and_newer_code(
    service: OwnTypesService, module: Path, tmp_path: Path
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    tasks = [submitted(service, before, key) for _ in range(4) for key in "abc"]
    unique = submitted(service, before, "d", unique_key="u")
    wait_for(lambda: before.exists() and len(at_once(before)) >= 3, "one of each key runs")
    last = {"concurrency_key": "c", "holders": 1}
    wait_for(lambda: waiting_for(service, tasks[-1]) == last, "the last one waits for its key")
    assert len({line.split()[2] for line in before.read_text().splitlines()}) > 1, "two workers"

    service.kill_everything()
    assert max(at_once(before).values()) == 1
    before.unlink()
    service.start()
    wait_for(lambda: before.exists() and len(at_once(before)) >= 3, "they run again")
    assert submitted(service, before, "d", unique_key="u") == unique
    wait_for(lambda: waiting_for(service, tasks[-1]) == last, "the last one waits for its key")
    assert max(at_once(before).values()) == 1

    module.write_text(TYPES.replace("PER_KEY", "2"))
    assert service.master is not None
    os.kill(service.master.pid, signal.SIGHUP)

    def allows_two() -> bool:
        found = service.client.get("/task-types/keyed").json()
        return bool(found["concurrency_per_key"] == 2)

    wait_for(allows_two, "the new code is there")
    Path(f"{before}.open").touch()
    wait_for(lambda: service.all_final([*tasks, unique]), "all have run")
    several = [submitted(service, after, "a") for _ in range(6)]
    wait_for(lambda: after.exists() and at_once(after)["a"] == 2, "two at once run")
    Path(f"{after}.open").touch()
    wait_for(lambda: service.all_final(several), "all have run")
    assert max(at_once(after).values()) == 2
