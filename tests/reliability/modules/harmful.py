"""Task types that leave a trace, and some that do harm: a task module, which hosts import.

The trace is the file named by `TRACE`: a line when an attempt begins and one when it ends (`end`,
`error`, or `cut` if it was stopped), appended by whoever runs it and seen by nothing of the
service.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from afterwards.task_types import CATALOGUE
from afterwards.task_types.base import RetryPolicy, TaskContext, TaskType


def trace(word: str, context: TaskContext) -> None:
    parent = os.getppid()
    process = f"{os.getpid()} {parent} {time.monotonic():.6f} {parent_of(parent)}"
    line = f"{word} {context.task_id} {context.attempt} {process}\n"
    # One write each: lines of several processes do not mix.
    file = os.open(os.environ["TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def parent_of(pid: int) -> int:
    """0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@contextmanager
def tracing(context: TaskContext) -> Iterator[None]:
    trace("begin", context)
    try:
        yield
    except BaseException as error:
        trace("error" if isinstance(error, Exception) else "cut", context)
        raise
    trace("end", context)


def make_traced(task_type: TaskType) -> TaskType:
    """Have a type's attempts leave a trace."""
    run: Callable[..., Any] = task_type.run

    def run_traced(payload: BaseModel, context: TaskContext) -> Mapping[str, Any]:
        with tracing(context):
            result: Mapping[str, Any] = run(payload, context)
        return result

    async def run_traced_async(payload: BaseModel, context: TaskContext) -> Mapping[str, Any]:
        with tracing(context):
            result: Mapping[str, Any] = await run(payload, context)
        return result

    is_async = task_type.executor == "async"
    # It is frozen, and the service holds this very object.
    object.__setattr__(task_type, "run", run_traced_async if is_async else run_traced)
    return task_type


# -- tasks that wait until a test lets them go -----------------------------------------------------


class Gated(BaseModel):
    gate: str
    """A file; while it is not there, the task waits."""


def wait(payload: Gated, context: TaskContext) -> dict[str, int]:
    gate = Path(payload.gate)
    while not gate.exists():
        time.sleep(0.01)
    return {"attempt": context.attempt}


async def wait_async(payload: Gated, context: TaskContext) -> dict[str, int]:
    is_open = Path(payload.gate).exists
    while not is_open():  # noqa: ASYNC110 - a test opens it
        await asyncio.sleep(0.01)
    return {"attempt": context.attempt}


def wait_deaf(payload: Gated, context: TaskContext) -> dict[str, int]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return wait(payload, context)


# -- tasks that die --------------------------------------------------------------------------------


class Death(BaseModel):
    how: str


def die(payload: Death, context: TaskContext) -> dict[str, int]:
    match payload.how:
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "out of memory":
            # What the kernel does to whom it chooses.
            os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError(payload.how)


async def exit_async(payload: Death, context: TaskContext) -> dict[str, int]:
    return die(payload, context)


def leave_a_daemon(payload: Gated, context: TaskContext) -> dict[str, int]:
    """Start a process that leaves its group and outlives whoever started it, if it can."""
    daemon = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    Path(payload.gate).with_name("daemon").write_text(str(daemon.pid))
    return wait(payload, context)


class Nap(BaseModel):
    seconds: float


async def nap(payload: Nap, context: TaskContext) -> dict[str, int]:
    await asyncio.sleep(payload.seconds)
    return {"attempt": context.attempt}


def nap_in_a_thread(payload: Nap, context: TaskContext) -> dict[str, int]:
    time.sleep(payload.seconds)
    return {"attempt": context.attempt}


class Poison(BaseModel):
    data_dir: str


async def poison(payload: Poison, context: TaskContext) -> dict[str, int]:
    take_down(payload.data_dir)
    return {}


def take_down(data_dir: str) -> None:
    """Kill all processes of this service; the calling one ends with its worker, which is last."""
    mark = f"SERVICE_OF_TEST={data_dir}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    for pid in sorted(found, key=lambda pid: pid == os.getppid()):
        if pid != os.getpid():
            os.kill(pid, signal.SIGKILL)


NO_RETRY = RetryPolicy(max_attempts=1)

HARMFUL = [
    TaskType("wait", Gated, wait_async),
    TaskType("wait-thread", Gated, wait, executor="thread", retry=NO_RETRY),
    TaskType("wait-process", Gated, wait, executor="process", retry=NO_RETRY),
    TaskType("wait-deaf", Gated, wait_deaf, executor="process", retry=NO_RETRY),
    TaskType("die", Death, die, executor="process"),
    TaskType("poison", Poison, poison),
    TaskType("exit", Death, exit_async),
    TaskType("nap", Nap, nap),
    TaskType("nap-thread", Nap, nap_in_a_thread, executor="thread"),
    TaskType("daemon", Gated, leave_a_daemon, executor="thread"),
]

WAIT, WAIT_THREAD, WAIT_PROCESS, WAIT_DEAF, DIE, POISON, EXIT, NAP, NAP_THREAD, DAEMON = HARMFUL
for each in (*CATALOGUE.values(), *HARMFUL):
    make_traced(each)
