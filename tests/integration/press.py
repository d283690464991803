"""A service with task types that make files, one for each kind of executor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.own_types import OwnTypesService, serving

# Not importable by the tests, and named as others name theirs.
PRESS = """
import asyncio, os, time
from pathlib import Path
from pydantic import BaseModel
from afterwards import TaskContext, TaskType

class Job(BaseModel):
    size: int = 0
    gate: str = ""
    fails: bool = False

def press(payload: Job, context: TaskContext):
    with context.artifact("attempt.txt", "w") as file:
        file.write(str(context.attempt))
    with context.artifact("page.pdf") as file:
        file.write(bytes(range(256)) * (payload.size // 256))
        if payload.gate and context.attempt == 1:
            file.flush()
            Path(payload.gate).write_text(str(os.getppid()))
            time.sleep(60)
    if payload.fails:
        raise ValueError("no paper")
    return {}

async def press_async(payload: Job, context: TaskContext):
    return await asyncio.to_thread(press, payload, context)

ASYNC = TaskType("press-async", Job, press_async)
THREAD = TaskType("press-thread", Job, press, executor="thread")
PROCESS = TaskType("press-process", Job, press, executor="process")
"""

SIZE = 3 * 2**20
CONTENT = bytes(range(256)) * (SIZE // 256)
KINDS = ("async", "thread", "process")


@contextmanager
def pressing(home: Path) -> Iterator[OwnTypesService]:
    """The running service, in a directory of its own."""
    (home / "press.py").write_text(PRESS)
    settings = {"task_modules": "press", "max_artifact_bytes": str(2 * SIZE)}
    with serving(home, home, **settings) as running:
        yield running


def submitted(service: OwnTypesService, kind: str, **payload: Any) -> str:
    """Submit a task of the type for this kind of executor."""
    answer = service.post("/tasks", {"type": f"press-{kind}", "payload": payload})
    assert answer.status_code == 202, answer.text
    task_id: str = answer.json()["id"]
    return task_id


def files(service: OwnTypesService, task_id: str) -> list[str]:
    """The paths of all files in the folder of a task, within it."""
    folder = service.output_dir / task_id
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())
