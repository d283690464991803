"""Workers as the registry meets them, and how tests wait, ask and make tasks."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from afterwards.errors import AfterwardsError
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.answers import Claim, Reply
from afterwards.registry.protocol.base import Registry, Worker
from afterwards.registry.protocol.incarnation import birth
from afterwards.registry.protocol.requests import (
    Add,
    Alive,
    Beat,
    Counts,
    Drain,
    Failed,
    Get,
    Held,
    Join,
    Leave,
    Lost,
    Released,
    Report,
    Request,
    Stopped,
    Succeeded,
    Suspected,
    TypeLimits,
)
from afterwards.schedules.schedule import Schedule

SERVICE = "service"
WAIT_SECONDS = 60.0


def eventually(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Wait until the condition is true, and give what it gave."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.002)
    return value


def make_task(**fields: Any) -> Task:
    """A new task, as the service makes them; with `run_at` in the future say SCHEDULED."""
    now = time.time()
    return Task(
        **{
            "id": str(uuid.uuid4()),
            "type": "note",
            "payload": b"{}",
            "executor": "async",
            "created_at": now,
            "run_at": now,
            **fields,
        }
    )


def make_schedule(name: str = "nightly", **fields: Any) -> Schedule:
    """A schedule as the service puts it; every minute, unless told otherwise."""
    return Schedule(
        **{
            "name": name,
            "pattern": make_task(id="", created_at=0.0, run_at=0.0),
            "cron": None,
            "every_seconds": None if fields.get("cron") else 60.0,
            "timezone": "UTC",
            "catch_up": False,
            "created_at": 0.0,
            **fields,
        }
    )


class Peer:
    """A worker: an incarnation, its connection, and the table of its claims.

    It does what the protocol asks of a worker: what `exchange` brings goes into `table`, and what a
    report has settled leaves it.
    """

    def __init__(
        self,
        registry: Registry,
        worker: Worker,
        slots: Mapping[str, int] | None = None,
        limits: Mapping[str, TypeLimits] | None = None,
    ) -> None:
        self.registry = registry
        self.worker = worker
        self.limits = dict(limits or {})
        self.slots = dict({"async": 2} if slots is None else slots)
        self.generation = 0
        self.user_types: frozenset[str] = frozenset()
        self.known_types: frozenset[str] = frozenset()
        self.connection = 0
        self.table: dict[str, Claim] = {}
        self.told: list[Held] = []
        """Cancellations it was told of."""

    @property
    def name(self) -> str:
        return str(self.worker)

    def held(self) -> list[Held]:
        return [Held(claim.task_id, claim.attempt) for claim in self.table.values()]

    def exchange(self, *requests: Request) -> Reply:
        reply = self.registry.exchange(self.worker, self.connection, requests)
        self.table.update({claim.task_id: claim for claim in reply.claims})
        self.told += reply.cancels
        return reply

    def ask(self, request: Request) -> Any:
        """One request's answer; whatever else the exchange brings goes into the table."""
        return self.exchange(request).answers[0]

    def join(self, held: Sequence[Held] | None = None) -> Reply:
        """Begin a new connection."""
        self.connection += 1
        return self.exchange(
            Join(
                self.slots,
                self.held() if held is None else held,
                self.limits,
                self.generation,
                self.user_types,
                self.known_types,
            )
        )

    def beat(self, held: Sequence[Held] | None = None) -> Reply:
        listed = self.held() if held is None else held
        return self.exchange(Beat(self.slots, {}, listed, generation=self.generation))

    def say_alive(self) -> Any:
        return self.ask(Alive())

    def drain(self) -> Reply:
        return self.exchange(Drain())

    def leave(self) -> Reply:
        return self.exchange(Leave())

    def add(self, *tasks: Task) -> Reply:
        return self.exchange(*map(Add, tasks))

    def take(self) -> list[Claim]:
        """Ask for claims."""
        return list(self.exchange().claims)

    def run(self, task: Task) -> Claim:
        """Add a task and get the claim on it."""
        reply = self.add(task)
        assert reply.answers == [None], reply
        [claim] = [claim for claim in reply.claims if claim.task_id == task.id]
        return claim

    def watch(self, seconds: float = WAIT_SECONDS) -> bool:
        return self.registry.watch(self.worker, self.connection, seconds)

    # -- reports: whatever the answer, the attempt is over for this worker --

    def report(self, report: Report) -> Any:
        answer = self.ask(report)
        claim = self.table.get(report.task_id)
        if claim is not None and claim.attempt == report.attempt:
            del self.table[report.task_id]
        return answer

    def succeed(self, claim: Held | Claim, result: bytes = b'"done"') -> Any:
        return self.report(Succeeded(claim.task_id, claim.attempt, result, 0.25))

    def fail(self, claim: Held | Claim, retry_in: float | None = None, error: str = "no") -> Any:
        return self.report(Failed(claim.task_id, claim.attempt, error, 0.25, retry_in))

    def release(self, claim: Held | Claim, reason: str = "the worker stops") -> Any:
        return self.report(Released(claim.task_id, claim.attempt, reason))

    def lose(self, claim: Held | Claim, error: str = "killed by SIGKILL") -> Any:
        return self.report(Lost(claim.task_id, claim.attempt, error))

    def suspect(self, claim: Held | Claim, crowd: int, error: str = "its host was killed") -> Any:
        return self.report(Suspected(claim.task_id, claim.attempt, error, crowd))

    def stop(self, claim: Held | Claim) -> Any:
        return self.report(Stopped(claim.task_id, claim.attempt))


def ask(registry: Registry, request: Request) -> Any:
    """The answer to a caller that is no worker."""
    [answer] = registry.exchange(None, 0, [request]).answers
    return answer


def get(registry: Registry, task_id: str) -> Task:
    task = ask(registry, Get(task_id))
    assert isinstance(task, Task), task
    return task


def counts(registry: Registry) -> dict[TaskState, int]:
    """The number of tasks in each state."""
    totals: dict[TaskState, int] = {}
    for (_, state), number in ask(registry, Counts()).items():
        totals[state] = totals.get(state, 0) + number
    return totals


def raised(answer: Any) -> type[AfterwardsError] | None:
    """The class of the error that was answered, if it was one."""
    return type(answer) if isinstance(answer, AfterwardsError) else None


class Processes:
    """Processes that do nothing, to be workers' incarnations."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, service: str = SERVICE) -> Worker:
        process = subprocess.Popen(["sleep", "600"])
        self._running.append(process)
        born = birth(process.pid)
        assert born is not None
        return Worker(service, process.pid, born)

    def kill(self, worker: Worker) -> None:
        [process] = [process for process in self._running if process.pid == worker.pid]
        process.kill()
        process.wait()

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()
