"""The limits of a task type, kept by two real workers together."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.conftest import wait_for
from tests.integration.own_types import OwnTypesService, serving

TYPES = """
import asyncio, os, time
from pathlib import Path
from pydantic import BaseModel
from afterwards import RateLimit, TaskType

class Job(BaseModel):
    log: str

def note(payload, what):
    with open(payload.log, "a") as log:
        log.write(f"{what} {os.getpid()}\\n")

async def work(payload: Job, context):
    note(payload, "+1")
    while not Path(payload.log + ".open").exists():
        await asyncio.sleep(0.01)
    note(payload, "-1")
    return {}

NARROW = TaskType("narrow", Job, work, max_concurrency=3)
RATED = TaskType("rated", Job, work, rate_limit=RateLimit(4, 0.5))
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[OwnTypesService]:
    directory = tmp_path / "here"
    directory.mkdir()
    (directory / "limited.py").write_text(TYPES)
    # So few slots that both workers are needed.
    with serving(tmp_path, directory, task_modules="limited", async_slots="2") as running:
        yield running


def most_at_once(log: Path) -> int:
    running = most = 0
    for line in log.read_text().splitlines():
        running += int(line.split()[0])
        most = max(most, running)
    return most


def result_of(service: OwnTypesService, task_id: str) -> bytes | None:
    return service.task(task_id).result


def carry_out(service: OwnTypesService, type_name: str, tasks: int, log: Path) -> list[str]:
    task_ids = [service.add(type_name, "async", {"log": str(log)}) for _ in range(tasks)]
    if type_name == "narrow":
        # As many as may run do, before any of them ends.
        wait_for(lambda: log.exists() and most_at_once(log) == 3, "three run")
    Path(f"{log}.open").touch()
    for task_id in task_ids:
        wait_for(partial(result_of, service, task_id), f"{task_id} finished")
    return task_ids


def test_two_workers_together_never_run_more_than_may_run_at_once(
    service: OwnTypesService, tmp_path: Path
) -> None:
    log = tmp_path / "steps"
    carry_out(service, "narrow", 40, log)
    assert most_at_once(log) == 3
    assert len({line.split()[1] for line in log.read_text().splitlines()}) == 2


def test_no_window_has_more_starts_than_the_rate_says_whoever_starts(
    service: OwnTypesService, tmp_path: Path
) -> None:
    task_ids = carry_out(service, "rated", 16, tmp_path / "steps")
    starts = sorted(service.task(task_id).started_at or 0.0 for task_id in task_ids)
    # The fifth is in another window than the first. Both clocks are the registry's, but the rate
    # goes by the one that is never set.
    assert all(later - first >= 0.45 for first, later in zip(starts, starts[4:], strict=False)), (
        starts
    )
    workers = {line.split()[1] for line in (tmp_path / "steps").read_text().splitlines()}
    assert len(workers) == 2
