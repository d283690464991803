r"""The life of a task: its states, and the only ways from one to the next. Read this first.

                            retry due                     cancel
              +----------> SCHEDULED ---------------------------> CANCELLED
              |                | due, or run (by hand)        ^    ^
      submit  |                v                              |    |
      --------+-----------> PENDING ------- cancel -----------+    |
                             ^  |  claim (attempt + 1)             |
  release, lost, suspected   |  v                                  |
                           PROCESSING ----- cancel, then stopped --+
                             |     |  \---- fail, attempts left ----> SCHEDULED
                     succeed |     |  fail, no attempts left
                             v     v
                        SUCCESS   FAILED, CANCELLED -- retry (by hand) --> PENDING, SCHEDULED
                                     ^
              SCHEDULED, PENDING ----+ expire (deadline passed), withdraw (its receiver is gone)

              SCHEDULED (follows a group) -- the last member ended --> PENDING
                                          \- one did not succeed --> CANCELLED (on: success)

              SUCCESS, FAILED, CANCELLED ---- delete (by hand), retention ----> gone

A `Task` is a value: each transition checks where the task stands and returns the next value, or
raises `IllegalTransition` and changes nothing. Only a registry calls them (`afterwards.registry`).

All times are POSIX timestamps in seconds, UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypedDict, Unpack

from afterwards.errors import IllegalTransition, StaleReport
from afterwards.moments import LATEST_SHOWN, shown

MAX_LOST_ATTEMPTS: Final = 3
"""After so many attempts whose fate is unknown a task is failed: it probably kills its hosts. The
last of them has to have been alone."""
MAX_LOST_WITH_WORKERS: Final = 6
"""So many attempts may be lost with their worker, beside all others that it ran: whatever ends
workers mostly is none of them."""

CROWD_SHARE: Final = 8
"""The attempts of a host that died go on in hosts of at most the n-th part of its size."""

DEFAULT_MAX_ATTEMPTS: Final = 3
DEFAULT_PRIORITY: Final = 4
HIGHEST_PRIORITY: Final = 9
MAX_KEY_CHARACTERS: Final = 255
"""The bound of a concurrency key, and of a unique key."""

INTERNAL_KEY: Final = "\x1f"
"""In idempotency keys that the registry makes itself: no client can send it."""

OWNED_KEY: Final = "\x1e"
"""In idempotency keys, between the key as its client sent it and the owner that it belongs to."""

WITHOUT_TIME: Final = LATEST_SHOWN
"""The `run_at` of a task that waits for a group, and for no time."""

MAX_DEPTH: Final = 8
"""A task without a parent has depth 0, its children 1, and so on."""

MAX_CHILDREN: Final = 1_000
MAX_CHILDREN_BYTES: Final = 8 * 2**20
"""The bound of a task's children, and of their payloads together."""

MAX_DELAY_SECONDS: Final = 10 * 365 * 86_400.0
"""Nothing waits longer for its time, not even if a retry policy asks for it."""

MAX_ERROR_CHARACTERS: Final = 4_000
"""Longer error messages are cut, so that a record's size is bounded by its payload and result."""


class TaskState(StrEnum):
    """The state of a task."""

    SCHEDULED = "scheduled"
    """Waits for its time (`run_at`). Nothing runs; it can be cancelled, and its deadline pass."""

    PENDING = "pending"
    """Waits for a free slot, oldest of the highest priority first."""

    PROCESSING = "processing"
    """Held by one worker under one attempt number. If the worker dies the attempt is lost."""

    SUCCESS = "success"
    """Finished; `result` is set. Never left, but by its deletion."""

    FAILED = "failed"
    """Finished; `error` is set. Left only by a retry by hand."""

    CANCELLED = "cancelled"
    """Finished without a result, on request. Left only by a retry by hand."""

    @property
    def is_final(self) -> bool:
        """True if the task is finished."""
        return self in FINAL_STATES


FINAL_STATES: Final = frozenset({TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED})
WAITING_STATES: Final = frozenset({TaskState.SCHEDULED, TaskState.PENDING})


class Follows(StrEnum):
    """The ends of a group's members that the task which follows them waits for."""

    SUCCESS = "success"
    """All have to succeed. If one fails or is cancelled, the task is cancelled."""

    FINISHED = "finished"
    """All have to finish, in whichever state."""


class Kind(NamedTuple):
    """The part of a task that comes from its type."""

    type: str
    executor: str
    max_attempts: int


class Wishes(TypedDict, total=False):
    """The wishes of a submission, besides type, payload and time: members of `Task`."""

    priority: int
    max_attempts: int
    timeout_seconds: float
    deadline: float
    labels: str
    group: str
    concurrency_key: str
    unique_key: str
    idempotency_key: str
    fingerprint: bytes | None
    callback: str
    webhook: int
    trace: str


@dataclass(frozen=True)
class Task:
    """One accepted piece of work and everything the registry knows of it."""

    id: str
    """UUID, lower case."""
    type: str
    payload: bytes
    """JSON, as the task type's payload model wrote it."""
    executor: str
    """The kind of executor its attempts run on (`afterwards_executors.base.Executor.kind`)."""
    created_at: float
    """Never before that of a task accepted earlier, even if the clock was set back."""
    run_at: float
    """The time at which it is, or was, due: since then its latest attempt could have been
    started."""
    order: int = 0
    """Acceptance order, given by the registry; also the task's key in the journal."""
    state: TaskState = TaskState.PENDING
    result: bytes | None = None
    """JSON; set in SUCCESS only."""
    error: str | None = None
    """The last attempt's error, as a message a user can act on; None after a success."""
    delay_seconds: float | None = None
    """A backoff's length. None: `run_at` is an absolute time and follows the wall clock."""
    started_at: float | None = None
    finished_at: float | None = None
    attempt: int = 0
    """The fence: grows with each claim and never falls; reports of older claims are refused."""
    attempts_used: int = 0
    """Attempts that ended in an error, of `max_attempts`. Reset by a retry by hand."""
    lost_attempts: int = 0
    """Attempts whose fate is unknown. Reset by a retry by hand."""
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    timeout_seconds: float | None = None
    """Limit for one attempt; None: the task type's, or the service's default."""
    deadline: float | None = None
    """No attempt starts after this time: what still waits then is failed."""
    schedule: str | None = None
    """The schedule that has made it."""
    priority: int = DEFAULT_PRIORITY
    """0 to 9; higher is sooner."""
    retries: int = 0
    """Retries by hand."""
    idempotency_key: str | None = None
    """The submitter's name for the submission: a repeated one gets this task again."""
    fingerprint: bytes | None = None
    """The fingerprint of what was submitted under the key; the key with anything else is a
    mistake."""
    worker: str | None = None
    """The incarnation that holds it, while PROCESSING."""
    crowd: int = 0
    """So many attempts may share the host of its next one, itself included; 0: any number."""
    generation: int = 0
    """The generation of task code that its latest attempt was claimed for."""
    owner: str | None = None
    """The client that submitted it; None: not known."""
    labels: str | None = None
    """Short pairs, as a JSON object."""
    parent: str | None = None
    """The task that submitted it."""
    group: str | None = None
    """The batch it belongs to: the id of the task that follows it."""
    concurrency_key: str | None = None
    """Only so many attempts at tasks of the same type with the same key run at once."""
    unique_key: str | None = None
    """At most one unfinished task of an owner has it. It stays with the task, which may get it
    back by a retry."""
    webhook: int = 0
    """1: it has a callback; the journal looks for one only then."""
    depth: int = 0
    """The number of its ancestors: its parent, the parent of that, and so on."""
    follows: str | None = None
    """A value of `Follows`: it follows the members of the group that has its id."""
    members: int = 0
    """The number of those members; 0: it follows none."""
    trace: str | None = None
    """The trace of its submission, as `afterwards.trace_context` has it; None: it has none."""
    callback: str | None = field(default=None, repr=False)
    """The receiver that is told of its end, as `afterwards.webhooks.webhook.Callback` encodes it;
    of a delivery, the one that it goes to. None: it has none."""
    artifacts: str | None = None
    """The files that its success has made, as `afterwards.artifacts` lists them."""
    cancel_requested: bool = False
    reason: str = "submitted"
    """Why the last transition happened, for people."""

    @property
    def is_retrying(self) -> bool:
        """True if it waits for a further attempt after one that failed."""
        return self.attempts_used > 0 and self.state in WAITING_STATES

    @property
    def has_no_time(self) -> bool:
        """True if no time makes it due, or has made: it follows a group."""
        return self.follows is not None and self.run_at == WITHOUT_TIME

    @property
    def waits_for_group(self) -> bool:
        """True if the end of a group makes it due, and no time does."""
        return self.state is TaskState.SCHEDULED and self.has_no_time

    @property
    def sent_key(self) -> str | None:
        """The idempotency key as a client sent it; None: none was sent."""
        key = self.idempotency_key
        if key is None or INTERNAL_KEY in key:
            return None
        sent = key.partition(OWNED_KEY)[0]
        # The keys of schedules' tasks have a line break.
        return sent if sent.isprintable() else None

    def with_key_of_its_owner(self) -> Task:
        """The same task, with an idempotency key that is not met by those of other owners."""
        key = self.idempotency_key
        if key is None or self.owner is None or OWNED_KEY in key:
            return self
        return self._evolve(idempotency_key=f"{key}{OWNED_KEY}{self.owner}")

    # -- in ------------------------------------------------------------------------------------

    def submitted(self, task_id: str, payload: bytes, now: float, owner: str | None = None) -> Task:
        """A new task like this one, which is a mere pattern."""
        return self._evolve(id=task_id, payload=payload, created_at=now, run_at=now, owner=owner)

    def wanting(self, **wishes: Unpack[Wishes]) -> Task:
        """A new task, not accepted yet, with what its submission asks for."""
        return self._evolve(**wishes)

    def postponed(self, run_at: float, delay_seconds: float | None = None) -> Task:
        """A new task that is not due yet: SCHEDULED in the place of PENDING.

        Args:
            delay_seconds: it waits so long and no longer, whatever the wall clock does; None: it
                follows the wall clock.
        """
        return self._evolve(
            state=TaskState.SCHEDULED,
            run_at=run_at,
            delay_seconds=None if delay_seconds is None else _bounded(delay_seconds),
            reason="submitted for later",
        )

    def following(self, on: Follows, members: int) -> Task:
        """A new task that is due once the members of the group with its id have ended."""
        return self._evolve(
            state=TaskState.SCHEDULED,
            run_at=WITHOUT_TIME,
            follows=on.value,
            members=members,
            reason="waits for its group",
        )

    def born_of(self, parent: Task) -> Task:
        """A new task that another one submits, on behalf of the same owner."""
        return self._evolve(parent=parent.id, depth=parent.depth + 1, owner=parent.owner)

    def recurred(self, task_id: str, schedule: str, key: str, due: float, now: float) -> Task:
        """A new task like this one, a mere pattern, for a due time of a schedule."""
        return self._evolve(
            id=task_id,
            schedule=schedule,
            idempotency_key=key,
            created_at=now,
            run_at=due,
            reason="due by its schedule",
        )

    def made_by_hand(self, task_id: str, schedule: str, now: float) -> Task:
        """A new task like this one, a mere pattern, that no due time of the schedule has asked for.

        It has no idempotency key: the task of each due time comes all the same.
        """
        return self._evolve(
            id=task_id,
            schedule=schedule,
            created_at=now,
            run_at=now,
            reason="its schedule was run by hand",
        )

    def accepted(self, order: int, not_before: float = 0.0) -> Task:
        """A new task with its place in the order of acceptance.

        Args:
            not_before: `created_at` of the task accepted before it, so that the order of
                acceptance is the order of creation as well, whatever the wall clock does.
        """
        return self._evolve(
            order=order,
            created_at=max(self.created_at, not_before),
            webhook=int(self.callback is not None),
        )

    # -- out of waiting ------------------------------------------------------------------------

    def become_due(self) -> Task:
        """SCHEDULED -> PENDING: its time has come."""
        self._require("become due", TaskState.SCHEDULED)
        return self._evolve(state=TaskState.PENDING, delay_seconds=None, reason="due")

    def member_ended(self, member: Task, left: int, now: float) -> Task:
        """SCHEDULED without a time -> PENDING or CANCELLED, or as it was: a member has ended.

        Args:
            member: the one of the group that has ended just now.
            left: the number of unfinished ones.
        """
        if not self.waits_for_group:
            return self
        if self.follows == Follows.SUCCESS and member.state is not TaskState.SUCCESS:
            error = f"Task {member.id} of its group is {member.state.value}"
            return self._finish(TaskState.CANCELLED, now, "cancelled", error=error)
        if left:
            return self
        return self._evolve(state=TaskState.PENDING, run_at=now, reason="its group is finished")

    def claim(self, worker: str, now: float, generation: int = 0) -> Task:
        """PENDING -> PROCESSING under the next attempt number, held by `worker`.

        Args:
            generation: of task code, that the attempt will run with; 0: the service's own.
        """
        self._require("claim", TaskState.PENDING)
        return self._evolve(
            state=TaskState.PROCESSING,
            attempt=self.attempt + 1,
            worker=worker,
            started_at=now,
            generation=generation,
            reason="claimed",
        )

    def is_late(self, now: float) -> bool:
        """True if its deadline has passed: no attempt may start any more."""
        return self.deadline is not None and now >= self.deadline

    def expire(self, now: float) -> Task:
        """SCHEDULED or PENDING -> FAILED: its deadline has passed."""
        self._require("expire", TaskState.SCHEDULED, TaskState.PENDING)
        error = f"Not started before its deadline {self._shown_deadline()}"
        if self.error is not None:
            error = f"{error}; the last attempt: {self.error}"
        return self._finish(TaskState.FAILED, now, "deadline passed", error=_storable(error))

    def withdraw(self, why: str, now: float) -> Task:
        """SCHEDULED or PENDING -> CANCELLED: what it was made for is gone."""
        self._require("be withdrawn", TaskState.SCHEDULED, TaskState.PENDING)
        return self._finish(TaskState.CANCELLED, now, "withdrawn", error=_storable(why))

    # -- the end of an attempt -----------------------------------------------------------------

    def succeed(
        self, attempt: int, result: bytes, now: float, artifacts: str | None = None
    ) -> Task:
        """PROCESSING -> SUCCESS, even if a cancellation was asked for: the task finished first."""
        self._require_attempt(attempt)
        return self._finish(
            TaskState.SUCCESS, now, "succeeded", result=result, error=None, artifacts=artifacts
        )

    def fail(self, attempt: int, error: str, now: float) -> Task:
        """PROCESSING -> FAILED: a permanent error, or no attempts left."""
        self._require_attempt(attempt)
        return self._finish(
            TaskState.FAILED,
            now,
            "failed",
            error=_storable(error),
            attempts_used=self.attempts_used + 1,
        )

    def back_off(self, attempt: int, error: str, delay_seconds: float, now: float) -> Task:
        """PROCESSING -> SCHEDULED for another attempt in `delay_seconds`.

        Without attempts left, or with a deadline that comes before the next one, the task fails
        instead, whatever the reporter believed; with a cancellation asked for it is cancelled.
        """
        self._require_attempt(attempt)
        delay_seconds = _bounded(delay_seconds)
        if self.cancel_requested:
            return self.stop(attempt, now)
        if self.attempts_used + 1 >= self.max_attempts:
            return self.fail(attempt, error, now)
        if self.is_late(now + delay_seconds):
            # First, so that a long error is cut and not this.
            deadline = self._shown_deadline()
            return self.fail(
                attempt, f"No attempt left before its deadline {deadline}: {error}", now
            )
        return self._evolve(
            state=TaskState.SCHEDULED,
            worker=None,
            error=_storable(error),
            attempts_used=self.attempts_used + 1,
            delay_seconds=delay_seconds,
            run_at=now + delay_seconds,
            reason=f"attempt {attempt} failed; tried again in {delay_seconds:.3g} s",
        )

    def release(self, attempt: int, reason: str, now: float) -> Task:
        """PROCESSING -> PENDING without counting: the attempt was interrupted on purpose."""
        self._require_attempt(attempt)
        if self.cancel_requested:
            return self.stop(attempt, now)
        return self._evolve(
            state=TaskState.PENDING, worker=None, run_at=now, reason=_storable(reason)
        )

    def suspect(
        self,
        attempt: int,
        error: str,
        crowd: int,
        now: float,
        *,
        retry_in_seconds: float | None = None,
    ) -> Task:
        """PROCESSING -> PENDING without counting: it, or another one in its host, ended the host.

        A suspect that was alone is guilty: its attempt is lost.

        Args:
            crowd: so many may share the host of its next attempt; never more than before.
            retry_in_seconds: as for `lose`.
        """
        self._require_attempt(attempt)
        if self.crowd == 1:
            return self.lose(attempt, error, now, alone=True, retry_in_seconds=retry_in_seconds)
        if self.cancel_requested:
            return self.stop(attempt, now)
        most = crowd if self.crowd == 0 else min(crowd, self.crowd // CROWD_SHARE)
        crowd = max(1, most)
        company = "alone" if crowd == 1 else f"in a crowd of at most {crowd}"
        return self._evolve(
            state=TaskState.PENDING,
            worker=None,
            run_at=now,
            error=_storable(error),
            crowd=crowd,
            reason=f"attempt {attempt} was in a host that died; tried again {company}",
        )

    def lose(
        self,
        attempt: int,
        error: str,
        now: float,
        *,
        alone: bool = False,
        most: int = MAX_LOST_ATTEMPTS,
        retry_in_seconds: float | None = None,
    ) -> Task:
        """PROCESSING -> PENDING, counted: how far the attempt came is not known.

        The last loss fails the task, so that a task which kills its hosts stops, but only if it
        cannot have been another one's fault; otherwise the next attempt has to be alone, and
        decides. With a cancellation asked for, the task is cancelled.

        Args:
            alone: nothing else was in the process that died. So it is with a crowd of 1, too.
            most: how many losses of this kind are too many.
            retry_in_seconds: of a task that is not failed by its losses: each that would have done
                so counts as an attempt that has failed, and the next one comes after this time.
        """
        self._require_attempt(attempt)
        if self.cancel_requested:
            return self.stop(attempt, now)
        error, lost, crowd = _storable(error), self.lost_attempts + 1, self.crowd
        if lost >= most:
            if alone or crowd == 1:
                error = f"{lost} attempts were lost; the last: {error}"
                if retry_in_seconds is not None:
                    counted = self._evolve(lost_attempts=lost, crowd=1)
                    return counted.back_off(attempt, error, retry_in_seconds, now)
                return self._finish(
                    TaskState.FAILED,
                    now,
                    "lost too often",
                    error=_storable(error),
                    lost_attempts=lost,
                )
            lost, crowd = most - 1, 1
        return self._evolve(
            state=TaskState.PENDING,
            worker=None,
            run_at=now,
            error=error,
            lost_attempts=lost,
            crowd=crowd,
            reason=f"attempt {attempt} lost: {error}",
        )

    def stop(self, attempt: int, now: float) -> Task:
        """PROCESSING -> CANCELLED: the holder stopped the attempt because it was asked to."""
        self._require_attempt(attempt)
        if not self.cancel_requested:
            raise IllegalTransition(self.id, self.state.value, "stop without a cancellation")
        return self._finish(TaskState.CANCELLED, now, "cancelled", error="Cancelled while running")

    # -- by hand -------------------------------------------------------------------------------

    def cancel(self, now: float) -> Task:
        """SCHEDULED or PENDING -> CANCELLED; PROCESSING: the holder is asked to stop."""
        self._require("be cancelled", TaskState.SCHEDULED, TaskState.PENDING, TaskState.PROCESSING)
        if self.state is TaskState.PROCESSING:
            return self._evolve(cancel_requested=True, reason="cancellation asked for")
        return self._finish(
            TaskState.CANCELLED, now, "cancelled", error="Cancelled before it was started"
        )

    def give_way(self, to: str, now: float) -> Task:
        """SCHEDULED or PENDING -> CANCELLED: a new task takes its place under its unique key."""
        self._require("be replaced", TaskState.SCHEDULED, TaskState.PENDING)
        return self._finish(
            TaskState.CANCELLED,
            now,
            f"replaced by task {to}",
            error=f"Replaced by task {to}, which has the same unique key",
        )

    def amend(
        self, payload: bytes | None = None, kind: Kind | None = None, run_at: float | None = None
    ) -> Task:
        """SCHEDULED as before, but otherwise: it has not been started yet, or waits for a retry.

        Args:
            payload: takes the place of the task's own; None: as it was.
            kind: the type it is moved to; None: it stays.
            run_at: when it is due, by the wall clock; None: as it was.
        """
        self._require("be changed", TaskState.SCHEDULED)
        changes = {} if run_at is None else {"run_at": run_at, "delay_seconds": None}
        return self._evolve(**self._replaced(payload, kind), **changes, reason="changed by hand")

    def run(self, now: float) -> Task:
        """SCHEDULED -> PENDING before its time, or before the end of its backoff."""
        self._require("be run now", TaskState.SCHEDULED)
        return self._evolve(
            state=TaskState.PENDING, run_at=now, delay_seconds=None, reason="run now by hand"
        )

    def delete(self) -> None:
        """SUCCESS, FAILED or CANCELLED -> gone."""
        self._require("be deleted; cancel it first", *FINAL_STATES)

    def retry(
        self,
        now: float,
        payload: bytes | None = None,
        kind: Kind | None = None,
        run_at: float | None = None,
    ) -> Task:
        """FAILED or CANCELLED -> PENDING with fresh budgets. The attempt number goes on.

        A deadline that has passed by its time is dropped: a request for another attempt wants it
        to start.

        Args:
            payload: takes the place of the task's own; None: as it was.
            kind: the type it is moved to; None: it stays.
            run_at: when it is due, by the wall clock: before that it is SCHEDULED; None: now.
        """
        self._require("be retried", TaskState.FAILED, TaskState.CANCELLED)
        due = now if run_at is None else max(now, run_at)
        waits = due > now
        return self._evolve(
            **self._replaced(payload, kind),
            state=TaskState.SCHEDULED if waits else TaskState.PENDING,
            deadline=None if self.is_late(due) else self.deadline,
            result=None,
            error=None,
            run_at=due,
            delay_seconds=None,
            started_at=None,
            finished_at=None,
            attempts_used=0,
            lost_attempts=0,
            crowd=0,
            cancel_requested=False,
            retries=self.retries + 1,
            reason="retried by hand, for later" if waits else "retried by hand",
        )

    # -- how -----------------------------------------------------------------------------------

    def _replaced(self, payload: bytes | None, kind: Kind | None) -> dict[str, Any]:
        changes: dict[str, Any] = {} if payload is None else {"payload": payload}
        return changes if kind is None else {**changes, **kind._asdict()}

    def _shown_deadline(self) -> str:
        assert self.deadline is not None
        return shown(self.deadline).isoformat(timespec="seconds")

    def _require(self, verb: str, *states: TaskState) -> None:
        if self.state not in states:
            raise IllegalTransition(self.id, self.state.value, verb)

    def _require_attempt(self, attempt: int) -> None:
        # A worker that was presumed dead and comes back reports an attempt that is not running
        # any more; without this check it would finish the attempt of its successor.
        if self.state is not TaskState.PROCESSING or attempt != self.attempt:
            raise StaleReport(self.id, attempt, self.attempt, self.state.value)

    def _finish(self, state: TaskState, now: float, reason: str, **changes: Any) -> Task:
        return self._evolve(
            state=state,
            worker=None,
            finished_at=now,
            delay_seconds=None,
            cancel_requested=False,
            reason=reason,
            **changes,
        )

    def _evolve(self, **changes: Any) -> Task:
        # dataclasses.replace runs __init__ over all fields: 8 us against 1, three times a task.
        new = object.__new__(Task)
        object.__setattr__(new, "__dict__", {**self.__dict__, **changes})
        return new

    def __reduce__(self) -> tuple[Callable[..., Task], tuple[object, ...]]:
        # Its values, in the order of the fields, without their names: each task crosses twice
        # between processes, and names are half of what it takes.
        values = {**self.__dict__, "state": self.state.value}
        return _restored, tuple(values.values())


_FIELDS: Final = tuple(one.name for one in fields(Task))


def _restored(*values: Any) -> Task:
    """The inverse of `Task.__reduce__`."""
    attributes = dict(zip(_FIELDS, values, strict=True))
    attributes["state"] = TaskState(attributes["state"])
    new = object.__new__(Task)
    object.__setattr__(new, "__dict__", attributes)
    return new


class Usage(NamedTuple):
    """The processor time and the memory of an attempt."""

    peak_memory_bytes: int
    """The most that its process had in memory."""
    cpu_seconds: float
    """The processor time of its process, user and system."""


class Change(NamedTuple):
    """One transition as it goes to the journal, the counts and the listeners."""

    old: Task | None
    """None: submitted."""
    new: Task | None
    """None: deleted, by hand or by retention."""
    outcome: str | None = None
    """The end of the attempt, if one ended: a label of `afterwards_task_attempts_total`."""
    run_seconds: float | None = None
    """The time that it ran, as its worker measured it."""
    usage: Usage | None = None
    """The usage of the attempt; None: not known."""
    log_lines: Sequence[str] = ()
    """The last lines that the attempt has printed and logged."""
    traceback: str | None = None
    """The traceback of what the attempt's function has raised."""

    @property
    def task(self) -> Task:
        """The task as it is now, or was when it was deleted."""
        task = self.new or self.old
        assert task is not None
        return task


def _bounded(delay_seconds: float) -> float:
    # In this order, which makes the longest of what is no number.
    return max(0.0, min(MAX_DELAY_SECONDS, delay_seconds))


def _storable(text: str) -> str:
    """Foreign text as a record can hold it, whatever it is."""
    if not text.isascii():
        # Half a surrogate pair, as file names can have, can be stored and sent by nobody.
        text = text.encode(errors="replace").decode()
    if len(text) <= MAX_ERROR_CHARACTERS:
        return text
    return text[: MAX_ERROR_CHARACTERS - 1] + "…"
