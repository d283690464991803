"""Task types with effects that can be counted afterwards: files, children, groups, keys.

Those with a key hold a lock of its name while they run, which the kernel frees with their process.
So an attempt that finds no lock free has met more attempts at once than the key allows.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from harmful import make_traced  # type: ignore[import-not-found]  # hosts find it by PYTHONPATH
from pydantic import BaseModel
from shapes import PICTURE, TITLE, VIOLATIONS, parts_of  # type: ignore[import-not-found]  # as above

from afterwards import RetryPolicy, TaskContext, TaskType

LOCKS: Final = "LOCKS"
"""Names the directory of the locks, in the environment."""
_DYING_SECONDS: Final = 2.0


# -- files ---------------------------------------------------------------------------------------


class Picture(BaseModel):
    size: int


async def draw(payload: Picture, context: TaskContext) -> dict[str, Any]:
    with context.artifact(PICTURE) as file:
        for part in parts_of(context.task_id, payload.size):
            file.write(part)
            await asyncio.sleep(0.02)
    with context.artifact(TITLE, "w") as title:
        title.write(context.task_id)
    return {}


def draw_in_a_thread(payload: Picture, context: TaskContext) -> dict[str, Any]:
    with context.artifact(PICTURE) as file:
        for part in parts_of(context.task_id, payload.size):
            file.write(part)
            time.sleep(0.02)
    with context.artifact(TITLE, "w") as title:
        title.write(context.task_id)
    return {}


# -- children and groups -------------------------------------------------------------------------


class Family(BaseModel):
    name: str
    url: str


class Leaf(BaseModel):
    name: str


class Nothing(BaseModel):
    name: str = ""


def call(payload: Family) -> dict[str, Any]:
    """The payload of a child that calls the recording server."""
    return {"method": "POST", "url": payload.url, "json": {"name": f"{payload.name}/call"}}


def submit(payload: Family, context: TaskContext) -> dict[str, Any]:
    context.submit("leaf", {"name": f"{payload.name}/now"}, now=True)
    time.sleep(0.05)
    context.submit("leaf", {"name": f"{payload.name}/leaf"})
    context.submit("http", call(payload))
    return {}


async def submit_async(payload: Family, context: TaskContext) -> dict[str, Any]:
    await context.submit("leaf", {"name": f"{payload.name}/now"}, now=True)
    await asyncio.sleep(0.05)
    context.submit("leaf", {"name": f"{payload.name}/leaf"})
    context.submit("http", call(payload))
    return {}


async def rest(payload: Leaf, context: TaskContext) -> dict[str, Any]:
    await asyncio.sleep(0.1)
    return {"name": payload.name}


async def gather(payload: Nothing, context: TaskContext) -> dict[str, Any]:
    assert context.group is not None
    ends = [[one.id, one.status, one.result is not None] async for one in context.group]
    await asyncio.sleep(0.1)
    return {"ends": ends}


# -- keys ----------------------------------------------------------------------------------------


class Keyed(BaseModel):
    key: str


@contextmanager
def holding(name: str, places: int, context: TaskContext) -> Iterator[None]:
    """Hold one of the places of a key, and write it down if all are taken by others who live."""
    directory = Path(os.environ[LOCKS])
    files = [
        os.open(directory / f"{name}.{number}", os.O_RDWR | os.O_CREAT, 0o600)
        for number in range(places)
    ]
    try:
        if not _take_one(files, context):
            _take_from_the_dying(name, files, context)
        yield
    finally:
        for file in files:
            os.close(file)


def _take_one(files: Sequence[int], context: TaskContext) -> bool:
    for file in files:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()} {context.task_id} {context.attempt}".encode(), 0)
        return True
    return False


def _take_from_the_dying(name: str, files: Sequence[int], context: TaskContext) -> None:
    """A process that is told to be dead closes its files a moment later, and nothing of it runs."""
    holders = [os.pread(file, 200, 0).decode() for file in files]
    deadline = time.monotonic() + _DYING_SECONDS
    while not (taken := _take_one(files, context)) and time.monotonic() < deadline:
        time.sleep(0.01)
    if taken and any(holder and _is_dead(int(holder.split()[0])) for holder in holders):
        return
    line = f"{name}: {context.task_id} {context.attempt} beside {holders}\n"
    path = Path(os.environ[LOCKS]) / VIOLATIONS
    violations = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(violations, line.encode())
    os.close(violations)


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


async def hold_alone(payload: Keyed, context: TaskContext) -> dict[str, Any]:
    with holding(payload.key, 1, context):
        await asyncio.sleep(0.2)
    return {}


def hold_with_another(payload: Keyed, context: TaskContext) -> dict[str, Any]:
    with holding(payload.key, 2, context):
        time.sleep(0.2)
    return {}


PATIENT: Final = RetryPolicy(max_attempts=20)

TYPES: Final = [
    TaskType("draw", Picture, draw, retry=PATIENT),
    TaskType("draw-thread", Picture, draw_in_a_thread, executor="thread", retry=PATIENT),
    TaskType("family", Family, submit_async, retry=PATIENT),
    TaskType("family-thread", Family, submit, executor="thread", retry=PATIENT),
    TaskType("family-process", Family, submit, executor="process", retry=PATIENT),
    TaskType("leaf", Leaf, rest, retry=PATIENT),
    TaskType("gather", Nothing, gather, retry=PATIENT),
    TaskType("alone", Keyed, hold_alone, retry=PATIENT),
    TaskType("in-twos", Keyed, hold_with_another, "thread", PATIENT, concurrency_per_key=2),
]
DRAW, DRAW_THREAD, FAMILY, FAMILY_THREAD, FAMILY_PROCESS, LEAF, GATHER, ALONE, IN_TWOS = TYPES
for each in TYPES:
    make_traced(each)
