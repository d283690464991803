"""A state machine that does whatever workers, people, clocks, disks and crashes may do to a
registry, and checks it against a model of a page.

`HYPOTHESIS_EXAMPLES=5000 pytest tests/registry/test_state_machine.py` searches for longer, and
differently each time.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from afterwards.counts import retrying
from afterwards.errors import (
    AfterwardsError,
    ChildrenRefused,
    IdempotencyMismatch,
    IllegalTransition,
    JournalUnavailable,
    NotJoined,
    StaleReport,
    TaskDeleted,
    TooManyUnfinished,
    UniqueKeyTaken,
)
from afterwards.lifecycle import (
    MAX_DEPTH,
    MAX_LOST_ATTEMPTS,
    MAX_LOST_WITH_WORKERS,
    WITHOUT_TIME,
    Follows,
    Kind,
    Task,
    TaskState,
)
from afterwards.registry.process.manager import connect
from afterwards.registry.process.supervised import RegistryProcess
from afterwards.registry.protocol.answers import Claim, Details, Existing, Reply
from afterwards.registry.protocol.base import (
    ALIVE_SECONDS,
    LEASE_SECONDS,
    SUSPECTED,
    Registry,
    Worker,
)
from afterwards.registry.protocol.requests import (
    EXISTING,
    REJECT,
    REPLACE,
    Add,
    AddAll,
    Alive,
    Amend,
    Beat,
    Cancel,
    Counts,
    Delete,
    Drain,
    Failed,
    Get,
    Held,
    Inspect,
    Join,
    Leave,
    Lost,
    OnConflict,
    Pause,
    Released,
    Report,
    Request,
    Resume,
    Retry,
    RunNow,
    Stats,
    Stopped,
    SubmitChildren,
    Succeeded,
    Suspected,
    TypeLimits,
)
from afterwards.registry.state.acceptance import Limits
from afterwards.task_ids import child_id_now
from tests.registry.bench import Bench, FailingNull, FailingSqlite, SteppedRegistry
from tests.registry.conftest import Hosted
from tests.registry.forks import ForkedRegistry
from tests.registry.peers import Peer, Processes, eventually, make_task

PENDING, PROCESSING, SCHEDULED = TaskState.PENDING, TaskState.PROCESSING, TaskState.SCHEDULED
SUCCESS, FAILED, CANCELLED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED

SLOTS = {"async": 2, "thread": 1, SUSPECTED: 2}
USER_TYPES = frozenset({"narrow"})
MAX_PENDING = 8
TYPES = ("note", "narrow", "rated")
CONCURRENCY_KEYS = st.sampled_from([None, None, "acme", "other"])
UNIQUE_KEYS = st.sampled_from([None, None, None, "u", "v"])
PER_KEY = {"note": 2}
"""Attempts at once with the same concurrency key, for types with more than one."""
LIMITS = {
    "note": TypeLimits(concurrency_per_key=PER_KEY["note"]),
    "narrow": TypeLimits(max_concurrency=1),
    "rated": TypeLimits(rate_count=2, rate_seconds=5.0),
}

WRITTEN, NO_NEW_WORK, NOTHING = 0, 1, 2
"""The part of a group that was written: one more failed write, one step down."""


# -- the model ------------------------------------------------------------------------------------


@dataclass
class ModelTask:
    """The part of a task that a transition may change and everyone may know."""

    id: str
    type: str
    executor: str
    priority: int
    max_attempts: int
    payload: bytes = b"{}"
    deadline: float | None = None
    concurrency_key: str | None = None
    unique_key: str | None = None
    state: TaskState = PENDING
    due: float = 0.0
    backing_off: bool = False
    delay: float = 0.0
    ready_since: tuple[int, int] | None = (0, 0)
    """Step and place in it; None: as soon as it is given back."""
    attempt: int = 0
    used: int = 0
    lost: int = 0
    crowd: int = 0
    solo: bool = False
    """Once it has to be alone, it is so in the whole service."""
    retries: int = 0
    worker: str | None = None
    cancel_requested: bool = False
    depth: int = 0
    follows: str | None = None
    members: list[ModelTask] = field(default_factory=list, repr=False, compare=False)
    """Those that it follows."""
    follower: ModelTask | None = field(default=None, repr=False, compare=False)

    def seen(self) -> tuple[object, ...]:
        """The same as `visible` of the real one."""
        return (
            self.type,
            self.executor,
            self.max_attempts,
            self.state,
            self.attempt,
            self.used,
            self.lost,
            self.crowd,
            self.retries,
            self.worker,
            self.cancel_requested,
            self.deadline,
            self.payload,
        )

    def is_late(self, wall: float) -> bool:
        return self.deadline is not None and wall >= self.deadline

    def finish(self, state: TaskState) -> None:
        self.state, self.worker, self.cancel_requested = state, None, False
        if self.follower is not None:
            self.follower.member_ended(self)

    def member_ended(self, member: ModelTask) -> None:
        if self.state is not SCHEDULED or self.due != WITHOUT_TIME:
            return
        if self.follows == "success" and member.state is not SUCCESS:
            self.finish(CANCELLED)
        elif all(one.state.is_final for one in self.members):
            self.state, self.ready_since = PENDING, None

    def lose(self, *, alone: bool = False, most: int = MAX_LOST_ATTEMPTS) -> None:
        if self.cancel_requested:
            self.finish(CANCELLED)
            return
        self.lost += 1
        if self.lost >= most and (alone or self.crowd == 1):
            self.finish(FAILED)
            return
        self.state, self.worker = PENDING, None
        if self.lost >= most:
            self.lost, self.crowd = most - 1, 1

    def suspect(self, crowd: int) -> None:
        if self.crowd == 1:
            self.lose(alone=True)
        elif self.cancel_requested:
            self.finish(CANCELLED)
        else:
            self.state, self.worker = PENDING, None
            self.crowd = max(1, min(crowd, self.crowd // 8) if self.crowd else crowd)

    def replace(self, payload: bytes | None, kind: Kind | None) -> None:
        self.payload = payload or self.payload
        if kind is not None:
            self.type, self.executor, self.max_attempts = kind

    def has_to_be_solo(self) -> bool:
        return self.solo and self.crowd == 1

    def release(self) -> None:
        if self.cancel_requested:
            self.finish(CANCELLED)
        else:
            self.state, self.worker = PENDING, None


def visible(task: Task) -> tuple[object, ...]:
    return (
        task.type,
        task.executor,
        task.max_attempts,
        task.state,
        task.attempt,
        task.attempts_used,
        task.lost_attempts,
        task.crowd,
        task.retries,
        task.worker,
        task.cancel_requested,
        task.deadline,
        task.payload,
    )


@dataclass
class ModelWorker:
    """The record that the registry should have of a worker."""

    name: str
    lease_ends: float
    joined: bool = False
    draining: bool = False
    over: bool = False
    doomed: bool = False
    gone: bool = False
    beaten_at: float = 0.0
    generation: int = 0


@dataclass
class Model:
    """Tasks and workers as they should be."""

    tasks: dict[str, ModelTask] = field(default_factory=dict)
    workers: dict[str, ModelWorker] = field(default_factory=dict)
    keys: dict[str, tuple[str, bytes | None]] = field(default_factory=dict)
    """Idempotency keys: which task has it, and the fingerprint it came with."""
    batches: dict[str, list[str]] = field(default_factory=dict)
    """The tasks of each key that came with a batch."""
    deleted: set[str] = field(default_factory=set)
    step: int = 0
    generation: int = 0
    """The latest that was announced."""
    paused: set[str] = field(default_factory=set)
    starts: list[float] = field(default_factory=list)
    """The starts of attempts at tasks of the type with a limited rate."""

    def held(self, worker: str) -> list[ModelTask]:
        return [task for task in self.tasks.values() if task.worker == worker]

    def unfinished(self) -> int:
        return sum(not task.state.is_final for task in self.tasks.values())

    def pass_time(
        self,
        wall: float,
        elapsed: float,
        written: int,
        alive: set[str],
        heard: str | None = None,
    ) -> None:
        """Do what happens by itself before a group's requests.

        Args:
            alive: workers that have said that they are, since the group before.
            heard: the worker whose join or beat is in the group.
        """
        for worker in self.workers.values():
            # The registry kills it after the group, and hears of its end in the next.
            worker.gone = worker.gone or worker.doomed
            if worker.name == heard:
                self.renew(worker, elapsed)
            if worker.name in alive:
                self.say_alive(worker, elapsed)
            if worker.lease_ends <= elapsed and not worker.gone:
                worker.over = worker.doomed = True
                worker.joined = False
        if written == NOTHING:
            return
        for task in self.tasks.values():
            self._let_wait(task, wall, elapsed)
        for worker in list(self.workers.values()):
            has_ended = worker.gone or (worker.over and not worker.doomed)
            if has_ended and not self.held(worker.name):
                del self.workers[worker.name]
            elif worker.gone:
                self.end_claims(worker)
        self.note_ready()

    def renew(self, worker: ModelWorker, elapsed: float) -> None:
        worker.beaten_at, worker.lease_ends = elapsed, elapsed + LEASE_SECONDS

    def say_alive(self, worker: ModelWorker, elapsed: float) -> None:
        latest = min(elapsed + LEASE_SECONDS, worker.beaten_at + ALIVE_SECONDS)
        worker.lease_ends = max(worker.lease_ends, latest)

    def announce(self, worker: ModelWorker, generation: int) -> None:
        worker.generation = generation
        self.generation = max(self.generation, generation)

    def may(self, worker: str, task: ModelTask) -> bool:
        """True if the worker's task code is no older than it may be for this task."""
        is_behind = self.workers[worker].generation < self.generation
        return not (is_behind and task.type in USER_TYPES)

    def _let_wait(self, task: ModelTask, wall: float, elapsed: float) -> None:
        if task.state in (SCHEDULED, PENDING) and task.is_late(wall):
            task.finish(FAILED)
        elif task.state is SCHEDULED and task.due <= (elapsed if task.backing_off else wall):
            task.state, task.ready_since = PENDING, (self.step, 0)

    def note_ready(self) -> None:
        for task in self.tasks.values():
            if task.state is PENDING and task.ready_since is None:
                task.ready_since = (self.step, 0)

    def end_claims(self, worker: ModelWorker) -> None:
        for task in self.held(worker.name):
            if worker.draining:
                task.release()
            else:
                task.lose(most=MAX_LOST_WITH_WORKERS)

    def release_omitted(self, worker: str, held: Sequence[Held]) -> None:
        for task in self.held(worker):
            if (task.id, task.attempt) not in held:
                task.release()

    def add(self, task: Task, on_conflict: OnConflict = EXISTING) -> type[AfterwardsError] | None:
        """Accept a task, or say how it has to be refused; a repeated key changes nothing."""
        if task.id in self.tasks or task.id in self.deleted:
            return None
        if task.idempotency_key in self.keys:
            same = self.keys[task.idempotency_key][1] == task.fingerprint
            return None if same else IdempotencyMismatch
        holder = self.holder(task.unique_key)
        if holder is not None and on_conflict == EXISTING:
            return None
        if holder is not None and (on_conflict == REJECT or holder.state is PROCESSING):
            return UniqueKeyTaken
        if holder is not None:
            holder.finish(CANCELLED)
        if self.unfinished() >= MAX_PENDING:
            return TooManyUnfinished
        self._accept(task, 0)
        if task.idempotency_key is not None:
            self.keys[task.idempotency_key] = (task.id, task.fingerprint)
        return None

    def holder(self, unique_key: str | None) -> ModelTask | None:
        """The unfinished task that has this key."""
        for task in self.tasks.values():
            if unique_key is not None and task.unique_key == unique_key and not task.state.is_final:
                return task
        return None

    def add_all(self, tasks: Sequence[Task]) -> type[AfterwardsError] | None:
        """The same for a batch, all or none."""
        first = tasks[0]
        if first.id in self.tasks or first.id in self.deleted:
            return None
        key, fingerprint = first.idempotency_key, b"of a batch: " + (first.fingerprint or b"")
        if key in self.keys:
            return None if self.keys[key][1] == fingerprint else IdempotencyMismatch
        unique = [task.unique_key for task in tasks if task.unique_key is not None]
        if any(map(self.holder, unique)) or len(unique) > len(set(unique)):
            return UniqueKeyTaken
        if self.unfinished() + len(tasks) > MAX_PENDING:
            return TooManyUnfinished
        for place, task in enumerate(tasks, start=1):
            self._accept(task, place)
        for task in tasks:
            if task.group is not None:
                member, follower = self.tasks[task.id], self.tasks[task.group]
                member.follower = follower
                follower.members.append(member)
        if key is not None:
            self.keys[key] = (first.id, fingerprint)
            self.batches[key] = [task.id for task in tasks]
        return None

    def _accept(self, task: Task, place: int) -> None:
        self.tasks[task.id] = ModelTask(
            task.id,
            task.type,
            task.executor,
            task.priority,
            task.max_attempts,
            task.payload,
            task.deadline,
            task.concurrency_key,
            task.unique_key,
            task.state,
            task.run_at,
            ready_since=(self.step, place),
            follows=task.follows,
        )

    def submit(self, request: SubmitChildren) -> type[AfterwardsError] | None:
        """Accept what a task submits while it runs, once."""
        parent = self.tasks.get(request.task_id)
        if parent is None or (parent.state, parent.attempt) != (PROCESSING, request.attempt):
            return StaleReport
        [child] = request.tasks
        if child.id in self.tasks or child.id in self.deleted:
            return None
        if parent.cancel_requested:
            return IllegalTransition
        return None if self._bear(parent, child) else ChildrenRefused

    def _bear(self, parent: ModelTask, child: Task) -> bool:
        if parent.depth >= MAX_DEPTH or self.unfinished() >= 2 * MAX_PENDING:
            return False
        self._accept(child, 1)
        self.tasks[child.id].depth = parent.depth + 1
        return True

    def _succeed(self, task: ModelTask, children: Sequence[Task]) -> None:
        if children and task.cancel_requested:
            task.finish(CANCELLED)
        elif all(self._bear(task, child) for child in children):
            task.finish(SUCCESS)
        else:
            task.used += 1
            task.finish(FAILED)
        if task.follower is not None and task.follower.ready_since is None:
            # After the child.
            task.follower.ready_since = (self.step, 2)

    def report(self, report: Report, wall: float, elapsed: float) -> type[AfterwardsError] | None:
        """Carry out a report, or say how it has to be refused."""
        task = self.tasks.get(report.task_id)
        if task is None or task.state is not PROCESSING or task.attempt != report.attempt:
            return StaleReport
        match report:
            case Succeeded(children=children):
                self._succeed(task, children)
            case Failed(retry_in_seconds=None):
                task.used += 1
                task.finish(FAILED)
            case Failed(retry_in_seconds=delay):
                self._back_off(task, delay or 0.0, wall, elapsed)
            case Released():
                task.release()
            case Lost():
                task.lose(alone=True)
            case Suspected():
                task.suspect(report.crowd)
            case Stopped() if not task.cancel_requested:
                return IllegalTransition
            case Stopped():
                task.finish(CANCELLED)
        return None

    def _back_off(self, task: ModelTask, delay: float, wall: float, elapsed: float) -> None:
        if task.cancel_requested:
            task.finish(CANCELLED)
            return
        task.used += 1
        if task.used >= task.max_attempts or task.is_late(wall + delay):
            task.finish(FAILED)
            return
        task.state, task.worker = SCHEDULED, None
        task.backing_off, task.delay, task.due = True, delay, elapsed + delay

    def cancel(self, task_id: str) -> type[AfterwardsError] | None:
        task = self.tasks[task_id]
        if task.state.is_final:
            return IllegalTransition
        if task.state is PROCESSING:
            task.cancel_requested = True
        else:
            task.finish(CANCELLED)
        return None

    def amend(self, amend: Amend) -> type[AfterwardsError] | None:
        task = self.tasks[amend.task_id]
        if task.state is not SCHEDULED:
            return IllegalTransition
        task.replace(amend.payload, amend.kind)
        if amend.run_at is not None:
            task.backing_off, task.due = False, amend.run_at
        return None

    def run_now(self, task_id: str) -> type[AfterwardsError] | None:
        task = self.tasks[task_id]
        if task.state is not SCHEDULED:
            return IllegalTransition
        task.state, task.ready_since = PENDING, (self.step, 0)
        return None

    def delete(self, task_id: str) -> type[AfterwardsError] | None:
        if task_id in self.deleted:
            return TaskDeleted
        task = self.tasks[task_id]
        key = next((key for key, (first, _) in self.keys.items() if first == task_id), None)
        others = [other for other in self.batches.get(key or "", ()) if other != task_id]
        if not task.state.is_final or not self.deleted.issuperset(others):
            return IllegalTransition
        if key is not None:
            del self.keys[key]
            self.batches.pop(key, None)
        del self.tasks[task_id]
        self.deleted.add(task_id)
        return None

    def retry(
        self,
        task_id: str,
        payload: bytes | None,
        kind: Kind | None,
        wall: float,
        run_at: float | None,
    ) -> type[AfterwardsError] | None:
        task = self.tasks[task_id]
        if task.state not in (FAILED, CANCELLED):
            return IllegalTransition
        if self.holder(task.unique_key) is not None:
            return UniqueKeyTaken
        if self.unfinished() >= MAX_PENDING:
            return TooManyUnfinished
        task.state, task.ready_since = PENDING, (self.step, 0)
        task.used = task.lost = task.crowd = 0
        task.retries += 1
        task.replace(payload, kind)
        due = wall if run_at is None else max(wall, run_at)
        task.deadline = None if task.is_late(due) else task.deadline
        if due > wall:
            task.state, task.backing_off, task.due = SCHEDULED, False, due
        return None

    def is_shut(self, task: ModelTask) -> bool:
        """True if no attempt at a task of this type may start now, as far as the model knows."""
        running = [t for t in self.tasks.values() if t.type == task.type and t.state is PROCESSING]
        if task.type in self.paused or (task.type == "narrow" and running):
            return True
        key = task.concurrency_key
        alike = [other for other in running if key is not None and other.concurrency_key == key]
        return len(alike) >= PER_KEY.get(task.type, 1)

    def claim(self, claim: Claim, worker: str, wall: float, elapsed: float) -> None:
        """A claim was given: it has to be the right one."""
        task = self.tasks[claim.task_id]
        assert not self.is_shut(task), "started what is paused or as often as it may"
        if task.type == "rated" and elapsed:
            self.starts.append(elapsed)
            recent = [start for start in self.starts if start > elapsed - 5.0]
            assert len(recent) <= 2, "started more often than it may"
        assert task.state is PENDING, "claimed what was not ready"
        assert not task.is_late(wall), "claimed what is past its deadline"
        assert claim.payload == task.payload
        assert claim.attempt == task.attempt + 1, "the fence did not grow by one"
        assert (claim.attempts_used, claim.max_attempts) == (task.used, task.max_attempts)
        assert claim.crowd == task.crowd
        assert self.may(worker, task), "claimed for task code that is behind"
        announced = self.workers[worker].generation if task.type in USER_TYPES else 0
        assert claim.generation == announced
        assert self.has_room(worker, task), "claimed what there was no room for"
        for other in self.tasks.values():
            # After a crash a window may be shut for longer than it need be.
            if other.type == "rated" != task.type or self.is_shut(other):
                continue
            if not self.may(worker, other):
                continue
            waits = other.state is PENDING and not other.is_late(wall)
            if task.crowd:
                alike = other.crowd > 0 and self.has_room(worker, other)
            else:
                alike = other.crowd == 0 and other.executor == task.executor
            if waits and alike:
                assert other.priority <= task.priority, "a higher priority was passed over"
                if other.priority == task.priority:
                    assert _since(other) >= _since(task), "an older task was passed over"
        task.state, task.attempt, task.worker = PROCESSING, claim.attempt, worker

    def has_room(self, worker: str, task: ModelTask) -> bool:
        """True if the worker has a slot, or a host, for this task beside what it holds."""
        held = self.held(worker)
        if not task.crowd:
            alike = [t for t in held if not t.crowd and t.executor == task.executor]
            return len(alike) < SLOTS[task.executor]
        running = [t for t in self.tasks.values() if t.state is PROCESSING]
        if task.has_to_be_solo() and any(t.has_to_be_solo() for t in running):
            return False
        crowds = Counter((t.executor, t.crowd) for t in [*held, task] if t.crowd)
        hosts = sum(math.ceil(number / crowd) for (_, crowd), number in crowds.items())
        return hosts <= SLOTS[SUSPECTED]

    def counts(self) -> dict[TaskState, int]:
        numbers: dict[TaskState, int] = {}
        for task in self.tasks.values():
            numbers[task.state] = numbers.get(task.state, 0) + 1
        return numbers


def _since(task: ModelTask) -> tuple[int, int]:
    assert task.ready_since is not None
    return task.ready_since


# -- the machine ----------------------------------------------------------------------------------

WORKERS = st.integers(0, 1)
PICK = st.integers(0, 10_000)
PAYLOADS = st.sampled_from([None, None, b'{"other":1}'])
KINDS = st.sampled_from([None, None, Kind("narrow", "thread", 2), Kind("note", "async", 3)])
SUSPECTED_IN: dict[str, int] = {"suspected in 1": 1, "suspected in 2": 2, "suspected in 16": 16}
REPORTS = st.sampled_from(
    ["succeed", "bear", "fail", "back off", "release", "lose", "stop", *SUSPECTED_IN]
)


class RegistryMachine(RuleBasedStateMachine):
    """Two workers, a few people and the weather, over one registry."""

    most_crashes: ClassVar[int]
    weather: ClassVar[bool] = True
    """True if clocks and disks can be played with."""
    limits: ClassVar[dict[str, TypeLimits]] = LIMITS

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.crashes_left = self.most_crashes
        self.reported: list[Held] = []
        self.heard: set[str] = set()
        """The workers that have said to be alive since the last group."""
        self.specs: dict[str, Task] = {}
        self.sent_batches: list[Sequence[Task]] = []
        self.directory = Path(tempfile.mkdtemp(prefix="afterwards-test-"))
        self.registry = self.open()
        self.peers = [self.new_peer(), self.new_peer()]
        for peer in self.peers:
            self.join(peer)

    # -- what a kind of registry is made of --

    def open(self) -> Registry:
        raise NotImplementedError

    def crash_registry(self) -> Registry:
        raise NotImplementedError

    def start_worker(self) -> Worker:
        raise NotImplementedError

    def kill_worker(self, peer: Peer) -> None:
        raise NotImplementedError

    def wall(self) -> float:
        raise NotImplementedError

    def elapsed(self) -> float:
        raise NotImplementedError

    def failures(self) -> int:
        return 0

    # -- every exchange goes through here --

    def exchange(self, peer: Peer | None, *requests: Request) -> tuple[Reply, int]:
        """An exchange, the passing of time in the model, and how much was written."""
        before = self.failures()
        self.model.step += 1
        if peer is None:
            reply = self.registry.exchange(None, 0, requests)
        else:
            reply = self.registry.exchange(peer.worker, peer.connection, requests)
        written = before - self.failures()
        heard = peer is not None and isinstance(requests[0] if requests else None, Join | Beat)
        # Not known is whoever left, or is about to be killed.
        name = peer.name if peer and heard and self.may_join(peer) else None
        self.model.pass_time(self.wall(), self.elapsed(), written, self.heard, name)
        self.heard.clear()
        return reply, written

    def take(self, peer: Peer, reply: Reply, *, deliver: bool = True) -> None:
        self.model.note_ready()
        for claim in reply.claims:
            self.model.claim(claim, peer.name, self.wall(), self.elapsed())
            if deliver:
                peer.table[claim.task_id] = claim
        for held in reply.cancels:
            assert self.model.tasks[held.task_id].cancel_requested

    def expect(
        self, answer: Any, expected: type[AfterwardsError] | None, *, written: bool = True
    ) -> None:
        if not written:
            expected = JournalUnavailable
        got = type(answer) if isinstance(answer, AfterwardsError) else None
        assert got is expected, f"answered {answer!r}, expected {expected}"

    def known(self, peer: Peer) -> bool:
        worker = self.model.workers.get(peer.name)
        return worker is not None and worker.joined

    def may_join(self, peer: Peer) -> bool:
        worker = self.model.workers.get(peer.name)
        return worker is None or not (worker.doomed or worker.gone)

    def new_peer(self) -> Peer:
        peer = Peer(self.registry, self.start_worker(), SLOTS, self.limits)
        peer.user_types, peer.generation = USER_TYPES, self.model.generation
        return peer

    def pick(self, number: int) -> ModelTask | None:
        tasks = list(self.model.tasks.values())
        return tasks[number % len(tasks)] if tasks else None

    # -- rules: tasks --

    @rule(
        worker=WORKERS,
        type_name=st.sampled_from(TYPES),
        executor=st.sampled_from(["async", "async", "thread"]),
        priority=st.sampled_from([4, 4, 0, 9]),
        max_attempts=st.integers(1, 3),
        due_in=st.sampled_from([None, None, 1.0, 30.0]),
        deadline_in=st.sampled_from([None, None, None, -1.0, 2.0, 40.0]),
        key=st.sampled_from([None, None, "a", "b"]),
        fingerprint=st.sampled_from([b"x", b"x", b"y"]),
        concurrency_key=CONCURRENCY_KEYS,
        unique_key=UNIQUE_KEYS,
        on_conflict=st.sampled_from([EXISTING, REJECT, REPLACE]),
    )
    def add(
        self,
        *,
        worker: int,
        type_name: str,
        executor: str,
        priority: int,
        max_attempts: int,
        due_in: float | None,
        deadline_in: float | None,
        key: str | None,
        fingerprint: bytes,
        concurrency_key: str | None,
        unique_key: str | None,
        on_conflict: OnConflict,
    ) -> None:
        fields: dict[str, Any] = {}
        if due_in is not None and self.weather:
            fields = {"state": SCHEDULED, "run_at": self.wall() + due_in}
        if deadline_in is not None and self.weather:
            fields["deadline"] = self.wall() + deadline_in
        task = make_task(
            **{
                "type": type_name,
                "executor": executor,
                "priority": priority,
                "max_attempts": max_attempts,
                "run_at": self.wall(),
                "idempotency_key": key,
                "fingerprint": None if key is None else fingerprint,
                "concurrency_key": concurrency_key,
                "unique_key": unique_key,
                **fields,
            }
        )
        self.send_add(self.peers[worker], Add(task, on_conflict=on_conflict))

    def send_add(self, peer: Peer, add: Add) -> None:
        task = add.task
        accept = partial(self.model.add, task, add.on_conflict)
        reply, expected = self.submit(peer, add, accept)
        self.specs.setdefault(task.id, task)
        answer = reply.answers[0]
        if isinstance(answer, Task):
            assert task.idempotency_key is not None
            assert answer.id == self.model.keys[task.idempotency_key][0]
            assert visible(answer) == self.model.tasks[answer.id].seen()
        elif isinstance(answer, Existing):
            holder = self.model.holder(task.unique_key)
            assert holder is not None
            assert (answer.task.id, visible(answer.task)) == (holder.id, holder.seen())
        elif expected is None:
            assert task.id in self.model.tasks, "neither accepted nor recognised"
        self.take(peer, reply)

    def submit(
        self, peer: Peer, request: Add | AddAll, accept: Callable[[], type[AfterwardsError] | None]
    ) -> tuple[Reply, type[AfterwardsError] | None]:
        """Send something new, and how it was expected to be answered: as `accept` says."""
        known = self.known(peer)
        reply, written = self.exchange(peer, request)
        expected: type[AfterwardsError] | None = JournalUnavailable
        if written == WRITTEN:
            expected = accept() if known and self.known(peer) else NotJoined
        self.expect(reply.answers[0], expected)
        return reply, expected

    @rule(
        worker=WORKERS,
        size=st.integers(1, 4),
        deadline_in=st.sampled_from([None, None, 2.0]),
        key=st.sampled_from([None, "a", "b", "c"]),
        fingerprint=st.sampled_from([b"x", b"x", b"y"]),
        concurrency_key=CONCURRENCY_KEYS,
        unique_keys=st.lists(UNIQUE_KEYS, min_size=4, max_size=4),
        follows=st.sampled_from([None, None, Follows.SUCCESS, Follows.FINISHED]),
    )
    def add_all(
        self, *, worker: int, size: int, deadline_in: float | None, key: str | None,
        fingerprint: bytes, concurrency_key: str | None, unique_keys: Sequence[str | None],
        follows: Follows | None,
    ) -> None:  # fmt: skip
        deadline = None
        if deadline_in is not None and self.weather:
            deadline = self.wall() + deadline_in
        if key is not None:
            # The same fingerprint means the same submission, and so as many tasks.
            size = 2 + fingerprint[0] % 2
            follows = Follows.SUCCESS if size == 3 else None
        fields = {"deadline": deadline, "concurrency_key": concurrency_key}
        tasks = [
            make_task(run_at=self.wall(), unique_key=unique_keys[place], **fields)
            for place in range(size)
        ]
        if follows is not None:
            then = make_task(run_at=self.wall(), deadline=deadline).following(follows, size)
            tasks = [*(replace(task, group=then.id) for task in tasks), then]
        if key is not None:
            tasks[0] = replace(tasks[0], idempotency_key=key, fingerprint=fingerprint)
        self.send_batch(self.peers[worker], tasks, again=False)

    def send_batch(self, peer: Peer, tasks: Sequence[Task], *, again: bool) -> None:
        accept = partial(self.model.add_all, tasks)
        reply, expected = self.submit(peer, AddAll(tasks, again), accept)
        answer = reply.answers[0]
        if isinstance(answer, list):
            accepted = [
                task_id
                for task_id in self.model.batches[tasks[0].idempotency_key or ""]
                if task_id not in self.model.deleted
            ]
            assert [task.id for task in answer] == accepted
            assert [visible(t) for t in answer] == [self.model.tasks[i].seen() for i in accepted]
        elif expected is None:
            known = self.model.tasks.keys() | self.model.deleted
            assert all(task.id in known for task in tasks), "not all were accepted"
            self.specs.update({task.id: task for task in tasks})
            self.sent_batches.append(tasks)
        self.take(peer, reply)

    @precondition(lambda self: self.sent_batches)
    @rule(worker=WORKERS, number=PICK)
    def add_all_again(self, worker: int, number: int) -> None:
        tasks = self.sent_batches[number % len(self.sent_batches)]
        self.send_batch(self.peers[worker], tasks, again=True)

    @precondition(lambda self: self.model.tasks)
    @rule(worker=WORKERS, number=PICK)
    def add_again(self, worker: int, number: int) -> None:
        task = self.pick(number)
        assert task is not None
        self.send_add(self.peers[worker], Add(self.specs[task.id], again=True))

    @precondition(lambda self: self.model.tasks)
    @rule(number=PICK)
    def cancel(self, number: int) -> None:
        task = self.pick(number)
        assert task is not None
        self.cancel_task(task.id)

    def cancel_task(self, task_id: str) -> None:
        reply, written = self.exchange(None, Cancel(task_id))
        expected = self.model.cancel(task_id) if written != NOTHING else None
        self.expect(reply.answers[0], expected, written=written != NOTHING)

    @precondition(lambda self: self.model.tasks)
    @rule(number=PICK, payload=PAYLOADS, kind=KINDS, due_in=st.sampled_from([None, -5.0, 9.0]))
    def retry(
        self, number: int, payload: bytes | None, kind: Kind | None, due_in: float | None
    ) -> None:
        task = self.pick(number)
        assert task is not None
        run_at = self.wall() + due_in if due_in is not None and self.weather else None
        reply, written = self.exchange(None, Retry(task.id, payload, kind, run_at))
        wall = self.wall()
        expected = (
            self.model.retry(task.id, payload, kind, wall, run_at) if written == WRITTEN else None
        )
        self.expect(reply.answers[0], expected, written=written == WRITTEN)

    @precondition(lambda self: self.model.tasks)
    @rule(number=PICK)
    def run_now(self, number: int) -> None:
        task = self.pick(number)
        assert task is not None
        reply, written = self.exchange(None, RunNow(task.id))
        expected = self.model.run_now(task.id) if written != NOTHING else None
        self.expect(reply.answers[0], expected, written=written != NOTHING)

    @precondition(lambda self: self.model.tasks)
    @rule(number=PICK, times=st.integers(1, 2))
    def delete(self, number: int, times: int) -> None:
        task = self.pick(number)
        assert task is not None
        reply, written = self.exchange(None, *[Delete(task.id)] * times)
        for answer in reply.answers:
            expected = self.model.delete(task.id) if written != NOTHING else None
            self.expect(answer, expected, written=written != NOTHING)

    @precondition(lambda self: self.model.tasks)
    @rule(number=PICK, payload=PAYLOADS, kind=KINDS, due_in=st.sampled_from([None, 0.0, 3.0, 50.0]))
    def amend(
        self, number: int, payload: bytes | None, kind: Kind | None, due_in: float | None
    ) -> None:
        task = self.pick(number)
        assert task is not None
        run_at = self.wall() + due_in if due_in is not None and self.weather else None
        amend = Amend(task.id, payload, kind, run_at)
        reply, written = self.exchange(None, amend)
        expected = self.model.amend(amend) if written == WRITTEN else None
        self.expect(reply.answers[0], expected, written=written == WRITTEN)

    @rule(type_name=st.sampled_from(TYPES))
    def pause(self, type_name: str) -> None:
        reply, written = self.exchange(None, Pause(type_name))
        self.expect(reply.answers[0], None, written=written != NOTHING)
        if written != NOTHING:
            self.model.paused.add(type_name)

    @rule(type_name=st.sampled_from(TYPES))
    def resume(self, type_name: str) -> None:
        reply, written = self.exchange(None, Resume(type_name))
        self.expect(reply.answers[0], None, written=written != NOTHING)
        if written != NOTHING:
            self.model.paused.discard(type_name)

    # -- rules: workers --

    @rule(worker=WORKERS)
    def claim(self, worker: int) -> None:
        reply, _ = self.exchange(self.peers[worker])
        self.take(self.peers[worker], reply)

    @rule(worker=WORKERS)
    def claim_and_never_hear_of_it(self, worker: int) -> None:
        peer = self.peers[worker]
        reply, _ = self.exchange(peer)
        self.take(peer, reply, deliver=False)
        self.join(peer)

    @rule(worker=WORKERS)
    def reconnect(self, worker: int) -> None:
        self.join(self.peers[worker])

    def join(self, peer: Peer) -> None:
        peer.connection += 1
        held = peer.held()
        join = Join(SLOTS, held, self.limits, peer.generation, USER_TYPES)
        reply, written = self.exchange(peer, join)
        if not self.may_join(peer):
            self.expect(reply.answers[0], NotJoined)
            return
        self.expect(reply.answers[0], None)
        worker = self.model.workers.setdefault(peer.name, ModelWorker(peer.name, 0.0))
        worker.joined, worker.over = True, False
        self.model.renew(worker, self.elapsed())
        self.model.announce(worker, peer.generation)
        if written != NOTHING:
            self.model.release_omitted(peer.name, held)
        self.take(peer, reply)
        assert set(reply.cancels) == {
            Held(task.id, task.attempt)
            for task in self.model.held(peer.name)
            if task.cancel_requested
        }, "a new connection is told of all cancellations"

    @rule(worker=WORKERS, omit=st.booleans(), number=PICK)
    def beat(self, worker: int, *, omit: bool, number: int) -> None:
        peer = self.peers[worker]
        held = peer.held()
        if omit and held:
            omitted = held.pop(number % len(held))
            del peer.table[omitted.task_id]
        known = self.known(peer)
        reply, written = self.exchange(peer, Beat(SLOTS, {}, held, generation=peer.generation))
        if not (known and self.known(peer)):
            self.expect(reply.answers[0], NotJoined)
            return
        self.expect(reply.answers[0], None)
        self.model.announce(self.model.workers[peer.name], peer.generation)
        if written != NOTHING:
            self.model.release_omitted(peer.name, held)
        self.take(peer, reply)

    @rule(worker=WORKERS)
    def say_alive(self, worker: int) -> None:
        peer = self.peers[worker]
        reply = self.registry.exchange(peer.worker, peer.connection, [Alive()])
        assert (reply.claims, reply.cancels) == ([], [])
        self.expect(reply.answers[0], None if self.known(peer) else NotJoined)
        if self.known(peer):
            self.heard.add(peer.name)

    @rule(worker=WORKERS)
    def reload(self, worker: int) -> None:
        """It has newer task code, and says so with its next beat."""
        self.peers[worker].generation = self.model.generation + 1

    @precondition(lambda self: any(peer.table for peer in self.peers))
    @rule(worker=WORKERS, number=PICK, how=REPORTS, delay=st.sampled_from([0.5, 5.0, 60.0]))
    def report(self, worker: int, number: int, how: str, delay: float) -> None:
        peer = self.peers[worker] if self.peers[worker].table else self.peers[1 - worker]
        held = peer.held()[number % len(peer.table)]
        if self.send_report(peer, held, how, delay if self.weather else 600.0):
            self.reported.append(held)

    @precondition(lambda self: self.reported)
    @rule(worker=WORKERS, number=PICK, how=REPORTS, later=st.sampled_from([0, 0, 1]))
    def report_again_or_of_another_attempt(
        self, worker: int, number: int, how: str, later: int
    ) -> None:
        held = self.reported[number % len(self.reported)]
        held = held._replace(attempt=held.attempt + later)
        task = self.model.tasks.get(held.task_id)
        if task is not None and task.state is PROCESSING and task.attempt == held.attempt:
            return
        self.send_report(self.peers[worker], held, how, 1.0)

    def send_report(self, peer: Peer, held: Held, how: str, delay: float) -> bool:
        """Report, and whether the answer was one that settles it."""
        report = _report(held, how, delay)
        known = self.known(peer)
        reply, written = self.exchange(peer, report)
        answer = reply.answers[0]
        children = report.children if isinstance(report, Succeeded) else ()
        self.specs.update({child.id: child for child in children})
        if written == NOTHING or (written and children):
            self.expect(answer, JournalUnavailable)
        elif not (known and self.known(peer)):
            self.expect(answer, NotJoined)
        else:
            self.expect(answer, self.model.report(report, self.wall(), self.elapsed()))
        settled = not isinstance(answer, NotJoined | JournalUnavailable)
        if settled and held in peer.held():
            del peer.table[held.task_id]
        self.take(peer, reply)
        return settled

    @precondition(lambda self: self.peers[0].table or self.peers[1].table or self.reported)
    @rule(worker=WORKERS, number=PICK, occurrence=st.integers(0, 1))
    def submit_a_child(self, worker: int, number: int, occurrence: int) -> None:
        peer = self.peers[worker]
        running = peer.held() or self.peers[1 - worker].held() or self.reported
        held = running[number % len(running)]
        parent = self.model.tasks.get(held.task_id)
        retries = 0 if parent is None else parent.retries
        child_id = child_id_now(held.task_id, retries, "note", b"{}", occurrence)
        request = SubmitChildren(*held, [make_task(id=child_id, run_at=0.0)])
        known = self.known(peer)
        reply, written = self.exchange(peer, request)
        expected: type[AfterwardsError] | None = JournalUnavailable
        if written == WRITTEN:
            expected = self.model.submit(request) if known and self.known(peer) else NotJoined
        self.expect(reply.answers[0], expected)
        self.specs.setdefault(child_id, request.tasks[0])
        self.take(peer, reply)

    @rule(worker=WORKERS)
    def drain(self, worker: int) -> None:
        peer = self.peers[worker]
        known = self.known(peer)
        reply, _ = self.exchange(peer, Drain())
        if not (known and self.known(peer)):
            self.expect(reply.answers[0], NotJoined)
            return
        self.expect(reply.answers[0], None)
        self.model.workers[peer.name].draining = True
        assert reply.claims == []

    @rule(worker=WORKERS)
    def leave(self, worker: int) -> None:
        """It leaves, its process ends, and another one starts."""
        peer = self.peers[worker]
        known = self.known(peer)
        reply, _ = self.exchange(peer, Leave())
        if known and self.known(peer):
            self.expect(reply.answers[0], None)
            record = self.model.workers[peer.name]
            record.draining = record.over = True
            record.joined = False
        else:
            self.expect(reply.answers[0], NotJoined)
        self.replace(worker)

    @rule(worker=WORKERS)
    def die(self, worker: int) -> None:
        self.replace(worker)

    def replace(self, worker: int) -> None:
        peer = self.peers[worker]
        self.kill_worker(peer)
        record = self.model.workers.get(peer.name)
        if record is not None:
            record.gone = record.over = True
            record.joined = False
        self.settle_death(peer)
        self.peers[worker] = self.new_peer()
        self.join(self.peers[worker])

    def settle_death(self, peer: Peer) -> None:
        """Wait for a death to be seen where that takes a moment."""

    # -- rules: the weather --

    @precondition(lambda self: self.crashes_left > 0)
    @rule()
    def crash(self) -> None:
        self.crashes_left -= 1
        self.model.generation = 0
        self.heard.clear()
        self.registry = self.crash_registry()
        for peer in self.peers:
            peer.registry = self.registry
        alive = {peer.name for peer in self.peers}
        self.model.workers = {
            name: ModelWorker(
                name,
                self.elapsed() + LEASE_SECONDS,
                over=name not in alive,
                gone=name not in alive,
                beaten_at=self.elapsed(),
            )
            for name in {task.worker for task in self.model.tasks.values() if task.worker}
        }
        for position, task in enumerate(self.model.tasks.values()):
            if task.worker is not None:
                task.solo = task.worker not in alive
            else:
                task.solo = task.crowd == 1 and task.lost > 0
            task.ready_since = (0, position) if task.state is PENDING else None
            if task.state is SCHEDULED and task.backing_off:
                task.due = self.rest_of_backoff(task)

    def rest_of_backoff(self, task: ModelTask) -> float:
        return task.due

    # -- invariants --

    @invariant()
    def the_registry_is_as_the_model_says(self) -> None:
        ids = list(self.model.tasks)
        reply, _ = self.exchange(None, *map(Get, ids), *map(Inspect, ids), Counts(), Stats())
        read = self.registry.read([*map(Get, ids), *map(Inspect, ids)])
        assert list(read) == list(reply.answers[:-2]), "a read sees what was answered"
        for task_id, task in zip(ids, reply.answers, strict=False):
            assert isinstance(task, Task), task
            assert visible(task) == self.model.tasks[task_id].seen()
            assert task.state.is_final == (task.finished_at is not None)
            assert (task.result is not None) == (task.state is SUCCESS)
            self.check_committed(task)
        for found, task in zip(reply.answers[len(ids) :], reply.answers, strict=False):
            if isinstance(found, Details) and isinstance(task, Task):
                assert found.task == task
                self.check_history(found)
        numbers: dict[TaskState, int] = {}
        answers: list[Any] = [*reply.answers]
        counts, statistics = answers[-2:]
        for (_, state), number in counts.items():
            numbers[state] = numbers.get(state, 0) + number
        assert numbers == self.model.counts(), "counts are exact"
        waiting = [task for task in answers[: len(ids)] if task.is_retrying]
        assert retrying(statistics.snapshot.counts) == len(waiting), "retries are exact"
        self.replace_the_dead()

    def replace_the_dead(self) -> None:
        """The master starts another worker for each that the registry has ended."""
        dead = [worker for worker, peer in enumerate(self.peers) if not self.may_join(peer)]
        for worker in dead:
            self.replace(worker)

    def check_history(self, found: Details) -> None:
        """Each claim has become an attempt, and each has ended but the running one."""
        task = found.task
        assert [a.attempt for a in found.attempts] == list(range(1, task.attempt + 1))
        running = [a.attempt for a in found.attempts if a.outcome is None]
        assert running == ([task.attempt] if task.state is PROCESSING else [])

    def check_committed(self, task: Task) -> None:
        """A task that can be read is on disk."""

    def teardown(self) -> None:
        """From wherever the rules have led, every task comes to a final state."""
        try:
            self.calm_down()
            for _ in range(100):
                if all(task.state.is_final for task in self.model.tasks.values()):
                    break
                self.work_on()
            self.the_registry_is_as_the_model_says()
            assert all(task.state.is_final for task in self.model.tasks.values()), "stuck"
        finally:
            self.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def calm_down(self) -> None:
        for type_name in TYPES:
            self.resume(type_name)
        for worker in (0, 1):
            # Drained ones would never take anything any more.
            self.replace(worker)

    def work_on(self) -> None:
        for peer in self.peers:
            self.join(peer)
            for held in peer.held():
                self.send_report(peer, held, "succeed", 0.0)
        for _ in range(8):
            self.let_time_pass(8.0)
            for worker in (0, 1):
                self.beat(worker, omit=False, number=0)

    def let_time_pass(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        raise NotImplementedError


def _report(held: Held, how: str, delay: float) -> Report:
    if how in SUSPECTED_IN:
        return Suspected(*held, "killed", SUSPECTED_IN[how])
    reports: dict[str, Report] = {
        "succeed": Succeeded(*held, b'"ok"', 0.1),
        "bear": Succeeded(*held, b'"ok"', 0.1, children=(make_task(run_at=0.0),)),
        "fail": Failed(*held, "no", 0.1, None),
        "back off": Failed(*held, "not now", 0.1, delay, timed_out=True),
        "release": Released(*held, "stopped"),
        "lose": Lost(*held, "killed"),
        "stop": Stopped(*held),
    }
    return reports[how]


class SteppedMachine(RegistryMachine):
    """Over a registry of one thread, with clocks to turn and a disk that fails."""

    def open(self) -> Registry:
        self.bench = Bench(self.directory / "data")
        self.bench.directory.mkdir()
        return self._registry(self.first_journal())

    def first_journal(self) -> FailingNull | FailingSqlite:
        raise NotImplementedError

    def _registry(self, journal: FailingNull | FailingSqlite) -> SteppedRegistry:
        self.journal = journal
        limits = Limits(max_pending=MAX_PENDING)
        return self.bench.registry(limits, journal=journal, retention_seconds=1e9)

    def crash_registry(self) -> Registry:
        return self._registry(self.bench.crash())

    def start_worker(self) -> Worker:
        return self.bench.machine.start()

    def kill_worker(self, peer: Peer) -> None:
        self.bench.machine.kill(peer.worker)

    def wall(self) -> float:
        return self.bench.clock.wall()

    def elapsed(self) -> float:
        return self.bench.clock.elapsed()

    def failures(self) -> int:
        return self.journal.failures

    @rule(failures=st.sampled_from([NO_NEW_WORK, NOTHING, NOTHING + 1]))
    def break_disk(self, failures: int) -> None:
        self.journal.failures = failures

    @rule(seconds=st.sampled_from([0.3, 1.0, 4.0, LEASE_SECONDS, 35.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.bench.clock.turn(seconds)

    @rule(seconds=st.sampled_from([-3600.0, -5.0, 5.0, 3600.0]))
    def set_wall_clock(self, seconds: float) -> None:
        self.bench.clock.set_wall(seconds)

    def calm_down(self) -> None:
        self.journal.failures = 0
        self.bench.clock.set_wall(30_000.0)
        super().calm_down()

    def close(self) -> None:
        self.bench.close()


class MemoryMachine(SteppedMachine):
    most_crashes = 0

    def first_journal(self) -> FailingNull:
        return FailingNull()


class JournalMachine(SteppedMachine):
    most_crashes = 100

    def first_journal(self) -> FailingSqlite:
        return self.bench.journal()

    def check_committed(self, task: Task) -> None:
        assert self.journal.read(task.id) == task

    def rest_of_backoff(self, task: ModelTask) -> float:
        stored = self.journal.read(task.id)
        assert stored is not None
        rest = min(task.delay, stored.run_at - self.wall())
        return self.elapsed() + rest


class ManagerMachine(RegistryMachine):
    """Over a real registry process, with SIGKILL for a crash and real processes as workers."""

    most_crashes = 3
    weather = False
    # What a rate holds back cannot be waited for.
    limits: ClassVar = {"narrow": LIMITS["narrow"], "note": LIMITS["note"]}

    def open(self) -> Registry:
        self.processes = Processes()
        self.hosted = Hosted(self.directory)
        self.host: RegistryProcess = self.hosted.start(
            ForkedRegistry, max_pending=MAX_PENDING, lease_seconds=600.0
        )
        return connect(self.host.endpoint)

    def crash_registry(self) -> Registry:
        self.hosted.kill(self.host)
        return self.hosted.reopen(self.host)

    def start_worker(self) -> Worker:
        return self.processes.start(self.host.endpoint.service)

    def kill_worker(self, peer: Peer) -> None:
        self.processes.kill(peer.worker)

    def settle_death(self, peer: Peer) -> None:
        held = [task.id for task in self.model.held(peer.name)]

        def released() -> bool:
            answers = self.registry.exchange(None, 0, list(map(Get, held))).answers
            return all(isinstance(a, Task) and a.worker != peer.name for a in answers)

        eventually(released, "the death is noticed")

    def wall(self) -> float:
        return 0.0

    def elapsed(self) -> float:
        return 0.0

    def let_time_pass(self, seconds: float) -> None:
        """Cancel what backs off: the real clock is too slow to wait for it."""
        for task in self.model.tasks.values():
            if task.state is SCHEDULED:
                self.cancel_task(task.id)

    def close(self) -> None:
        self.hosted.close()
        self.processes.close()


# -- running them ---------------------------------------------------------------------------------

EXAMPLES = os.environ.get("HYPOTHESIS_EXAMPLES")
"""Search longer, and elsewhere each time."""
AT_MOST = int(os.environ.get("EXAMPLES_AT_MOST", "1000"))
"""The same examples each time, but no more of them."""


def _settings(examples: int, steps: int) -> settings:
    return settings(
        max_examples=int(EXAMPLES) if EXAMPLES else min(examples, AT_MOST),
        stateful_step_count=steps,
        derandomize=EXAMPLES is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        # Explaining a failure runs it under a tracer, which takes longer than the test may.
        phases=[Phase.generate, Phase.shrink],
    )


@pytest.mark.parametrize(
    ("machine", "examples", "steps"),
    [(MemoryMachine, 200, 40), (JournalMachine, 120, 40), (ManagerMachine, 8, 25)],
    ids=["memory", "journal", "manager"],
)
@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_whatever_happens_the_registry_keeps_its_rules(
    machine: type[RegistryMachine], examples: int, steps: int, quiet: None
) -> None:
    run_state_machine_as_test(machine, settings=_settings(examples, steps))
