"""The registry's protocol: this page is its specification. `tests/registry/` holds it.

A registry owns all tasks and is the only place that changes one. Workers speak to it by
`exchange`: a batch of requests in, an answer for each and the worker's new claims out.

The rules
    1.  Nothing is claimable, readable, counted or published before it is committed. An added task
        and the claim on it are one transaction.
    2.  An answer to a request that changes something follows its commit. Reports that were not
        answered are sent again, before anything else, by whatever connection comes next.
    3.  A report is accepted only while its task is processing under that attempt number.
    4.  Claims are the worker's responsibility from the moment `exchange` returns: its connection
        puts them in the dispatcher's table before it wakes whoever waits for an answer.
    5.  A `Beat` lists the claims of that table. What the registry had delivered before and the
        beat omits is released.
    6.  The registry keeps the ledger of slots: a worker never holds more claims of a kind than it
        has slots of it.
    7.  `Add` is idempotent by task id and by `Task.idempotency_key`, which is kept as long as its
        task. A repeated key waits for the same commit as everything else.
    8.  A claim names the worker's incarnation (`Worker`). After a restart of the registry, claims
        of dead incarnations, or of another service's, are lost at once; living ones have a full
        lease to present theirs.
    9.  Leases age by the registry's own running time; a worker's death ends its claims at once. A
        worker without an answer for `FENCE_SHARE` of its lease stops its attempts by itself.
    10. Cancelling what is processing asks the holder; the holder's report decides. If the holder
        is lost, the task is cancelled.
    11. Claims on a kind that cannot be stopped (`thread`) outlive the lease and end only with the
        worker's process.
    12. A backoff waits at most its delay, whatever the wall clock does; an absolute `run_at`
        follows the wall clock.
    13. One registry for a data directory, held by a lock (`app.registry.lock`). A new master never
        joins an old registry, and only workers of its own service may join a registry.
    14. An attempt that ended in a transient error is tried again while attempts remain; the worker
        decides the delay (`executors.retry`), the registry guards the number of attempts.
    15. Results are bounded (`BGTASKS_MAX_RESULT_BYTES`), and so are unfinished payloads together
        (`Limits.max_pending_bytes`).
    16. Events carry (epoch, sequence). Beyond the window, or from another epoch, a listener gets
        `Events.reset` and the counts.
    17. A schedule's next due time and its task are written in one transaction (`Fire`); due times
        never move back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from app.errors import BgTasksError
from app.lifecycle import Task, TaskState
from app.metrics import HttpCounts

HEARTBEAT_SECONDS = 2.0
LEASE_SECONDS = 10.0
UNSTOPPABLE = frozenset({"thread"})
"""Executor kinds whose calls cannot be stopped, as far as the registry knows before a worker has
said so itself."""
FENCE_SHARE = 0.8
"""A worker without an answer for this share of its lease stops its own attempts."""


class Worker(NamedTuple):
    """A worker's incarnation: two workers, or two services, are never equal."""

    service: str
    """Drawn anew at each start of the service."""
    pid: int
    born: int
    """The process' start time in clock ticks since boot (proc(5), field 22 of stat)."""

    def __str__(self) -> str:
        return f"{self.service}:{self.pid}:{self.born}"

    @classmethod
    def parse(cls, text: str) -> Worker:
        """The inverse of `str`."""
        service, pid, born = text.rsplit(":", 2)
        return cls(service, int(pid), int(born))


class Held(NamedTuple):
    """A claim as its holder lists it."""

    task_id: str
    attempt: int


class Claim(NamedTuple):
    """One attempt at a task, given to one worker."""

    task_id: str
    attempt: int
    type: str
    payload: bytes
    executor: str
    attempts_used: int
    max_attempts: int
    timeout_seconds: float | None


# -- requests: of a worker about itself ---------------------------------------------------------


class Join(NamedTuple):
    """The first request of every connection. Answer: None.

    Releases what the registry believes delivered and `held` does not list: that answer was lost.
    """

    slots: Mapping[str, int]
    """Usable slots by executor kind."""
    unstoppable: frozenset[str]
    """Kinds whose calls cannot be stopped (rule 11)."""
    held: Sequence[Held]


class Beat(NamedTuple):
    """At least every `HEARTBEAT_SECONDS`. Renews the lease. Answer: None."""

    slots: Mapping[str, int]
    """Usable slots by executor kind: stuck ones left out."""
    stuck: Mapping[str, int]
    held: Sequence[Held]
    http: HttpCounts | None = None
    """This worker's HTTP metrics so far, if they have changed."""


class Drain(NamedTuple):
    """This worker takes no more claims. Answer: None."""


class Leave(NamedTuple):
    """The worker ends in order. Whatever it still holds is released, uncounted. Answer: None."""


# -- requests: tasks ----------------------------------------------------------------------------


class Add(NamedTuple):
    """Accept a task (PENDING or SCHEDULED). Idempotent by its id. Answer: None.

    If its `idempotency_key` came before with the same `fingerprint`, nothing is stored. Answer: the
    task that was accepted then, as it stands now.

    Errors, with nothing stored: `IdempotencyMismatch`, `TooManyUnfinished`, `JournalUnavailable`.
    """

    task: Task
    again: bool = False
    """Sent before on a connection that broke, so that it may have been accepted and even finished;
    only then the archive is asked."""


class Succeeded(NamedTuple):
    """Report: the attempt returned `result` (JSON). Answer: None. Errors: `StaleReport`."""

    task_id: str
    attempt: int
    result: bytes
    run_seconds: float


class Failed(NamedTuple):
    """Report: the attempt ended in an error. Answer: None. Errors: `StaleReport`."""

    task_id: str
    attempt: int
    error: str
    run_seconds: float
    retry_in_seconds: float | None
    """None: give up."""
    timed_out: bool = False


class Released(NamedTuple):
    """Report: interrupted on purpose, not counted. Answer: None. Errors: `StaleReport`."""

    task_id: str
    attempt: int
    reason: str


class Lost(NamedTuple):
    """Report: the attempt's process died. Answer: None. Errors: `StaleReport`."""

    task_id: str
    attempt: int
    error: str


class Stopped(NamedTuple):
    """Report: stopped because its cancellation was asked for. Answer: None.

    Errors: `StaleReport`, `IllegalTransition` (nobody asked).
    """

    task_id: str
    attempt: int


class Retry(NamedTuple):
    """A failed or cancelled task again, by hand. Answer: the task.

    Errors: `TaskNotFound`, `TaskDeleted`, `IllegalTransition`, `TooManyUnfinished`,
    `JournalUnavailable`.
    """

    task_id: str


class Cancel(NamedTuple):
    """Cancel a task, or ask its holder to. Answer: the task.

    Errors: `TaskNotFound`, `TaskDeleted`, `IllegalTransition`, `JournalUnavailable`.
    """

    task_id: str


class Fire(NamedTuple):
    """A schedule is due: accept its task and move its next due time, in one transaction.

    Answer: whether this call did it; False if that due time had been fired before. Due times of a
    schedule never move back. Errors: as for `Add`.
    """

    schedule: str
    due: float
    next_due: float
    task: Task


# -- requests: reading --------------------------------------------------------------------------


class Get(NamedTuple):
    """Answer: the task as committed.

    Errors: `TaskNotFound`, `TaskDeleted`, `JournalUnavailable`.
    """

    task_id: str


class Find(NamedTuple):
    """Answer: a `Page` of tasks, newest first, as committed.

    It has at most `limit`, and fewer if they are large. Errors: `JournalUnavailable`.
    """

    state: TaskState | None = None
    type: str | None = None
    limit: int = 100
    before: int | None = None
    """The `Page.next` of the page before."""


class Counts(NamedTuple):
    """Answer: how many tasks there are, a mapping (type, state) -> number."""


class Changes(NamedTuple):
    """Answer: an `Events` with what has been committed since (`epoch`, `after`)."""

    epoch: str
    after: int


class Scrape(NamedTuple):
    """Answer: the metrics of the whole service in Prometheus' text format (bytes)."""

    http: HttpCounts | None = None
    """The asking worker's own HTTP metrics, so that they are up to date."""


class Probe(NamedTuple):
    """Answer: None after a write to the journal. Errors: `JournalUnavailable`."""


ABOUT_THE_WORKER = frozenset({Join, Beat, Drain, Leave})

Report = Succeeded | Failed | Released | Lost | Stopped
Request = (
    Join | Beat | Drain | Leave | Add | Report | Retry | Cancel | Fire
    | Get | Find | Counts | Changes | Scrape | Probe
)  # fmt: skip


# -- answers ------------------------------------------------------------------------------------

Answer = Any | BgTasksError
"""What the request's docstring says, or the error, as a value."""


class Page(NamedTuple):
    """A page of tasks, newest first."""

    tasks: Sequence[Task]
    next: int | None
    """`Find.before` for the next page; None: this was the last."""


class Event(NamedTuple):
    """One committed transition."""

    sequence: int
    task_id: str
    type: str
    state: TaskState
    at: float
    reason: str


class Events(NamedTuple):
    """Committed transitions in order."""

    epoch: str
    """Changes with each start of the registry; sequences of two epochs do not compare."""
    sequence: int
    """Of the last event there is."""
    events: Sequence[Event]
    reset: bool
    """The asked-for position is of another epoch or out of the window: events were missed, and
    `counts` tells where things stand now."""
    counts: Mapping[tuple[str, TaskState], int] | None = None


class Reply(NamedTuple):
    """What `exchange` gives back."""

    answers: Sequence[Answer]
    """One for each request, in order."""
    claims: Sequence[Claim]
    """New claims for the calling worker, within its free slots; committed."""
    cancels: Sequence[Held]
    """Claims of the calling worker whose cancellation was asked for, told once per connection."""


class Registry(Protocol):
    """A registry. All methods may be called from any thread and block the caller."""

    def exchange(
        self, worker: Worker | None, connection: int, requests: Sequence[Request]
    ) -> Reply:
        """Carry out `requests` in order, as one group, and answer after their commit.

        The worker's leases are renewed by `Join` and `Beat` only. A caller that is no worker
        (`worker` None) gets no claims and may send no request of a worker about itself.

        Args:
            worker: the caller's incarnation.
            connection: counts the caller's connections. A `Join` makes the highest one current;
                requests of an older one are answered with `NotJoined`, so that nothing sent on a
                connection that was given up takes effect after its successor has begun.
            requests: at most `MAX_BATCH_BYTES` together.
        """

    def watch(self, worker: Worker, connection: int, timeout_seconds: float) -> bool:
        """Wait until an `exchange` would give this worker claims or cancels.

        Returns:
            Whether it would; False after `timeout_seconds`, at most 30, or if not joined.
        """


MAX_BATCH_BYTES = 8 * 2**20
"""Payloads in one exchange, either way; a single larger one goes alone."""
