"""The requests to a registry; the rules of the protocol are in `protocol.base`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from afterwards.counts import WorkerCounts
from afterwards.lifecycle import Kind, Task, Usage
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.filters import Filter, Order, PageEnd
from afterwards.registry.protocol.key_requests import (
    CreateKey,
    EndSession,
    Keys,
    KeysOff,
    OpenSession,
    RevokeKey,
    RotateKey,
    Share,
    Touch,
)
from afterwards.registry.protocol.webhook_requests import (
    DeleteWebhook,
    EnableWebhook,
    GetWebhook,
    ListWebhooks,
    PutWebhook,
    ReplayWebhook,
    RotateSecret,
    SendTest,
)
from afterwards.schedules.schedule import Schedule


class Held(NamedTuple):
    """A claim as its holder lists it."""

    task_id: str
    attempt: int


class TypeLimits(NamedTuple):
    """The limits of one type's attempts, over all workers."""

    max_concurrency: int | None = None
    """Attempts at once."""
    rate_count: int | None = None
    """Attempts begun in any `rate_seconds`."""
    rate_seconds: float = 1.0
    concurrency_per_key: int = 1
    """Attempts at once at tasks with the same `Task.concurrency_key`."""


class HostReport(NamedTuple):
    """The report of a worker on one of its hosts."""

    pid: int
    kind: str
    generation: int
    """The generation of the task code that it runs."""
    started_at: float | None
    memory_bytes: int | None
    """None: not known."""
    attempts: int
    stuck: int
    """The number of attempts that go on after their time; `attempts` counts them, too."""
    state: str
    """`running`, `leaving`, or `suspects`: it runs those that may have ended their host."""


class WorkerReport(NamedTuple):
    """The report of a worker on its process and its hosts, for people who look."""

    started_at: float | None
    memory_bytes: int | None
    """None: not known."""
    hosts: Sequence[HostReport]
    """64 at most."""
    host_pids: Mapping[str, int]
    """The pids of the hosts of its oldest attempts, by task id; attempts that run in no host are
    left out."""


# -- requests: of a worker about itself ---------------------------------------------------------


class Join(NamedTuple):
    """The first request of every connection. Answer: None.

    Releases what the registry believes delivered and `held` does not list: that answer was lost.
    """

    slots: Mapping[str, int]
    """Usable slots by executor kind; `SUSPECTED`: hosts for suspects."""
    held: Sequence[Held]
    limits: Mapping[str, TypeLimits] = {}
    """The limits of a task type's attempts, by its name; types without limits are left out. The
    latest word of any worker holds for all."""
    generation: int = 0
    """The generation of task code that it runs the types of task modules with."""
    user_types: frozenset[str] = frozenset()
    """Types that belong to task modules."""
    known_types: frozenset[str] = frozenset()
    """All types it knows; empty: it does not say."""


class Beat(NamedTuple):
    """At least every `HEARTBEAT_SECONDS`. Renews the lease. Answer: None."""

    slots: Mapping[str, int]
    """Usable slots by executor kind."""
    stuck: Mapping[str, int]
    held: Sequence[Held]
    counts: WorkerCounts | None = None
    """The counts of this worker so far, if they have changed."""
    generation: int = 0
    """As in `Join`."""
    report: WorkerReport | None = None
    """None: as it was, about."""


class Alive(NamedTuple):
    """The worker's process runs, whatever holds up its `Beat` (rule 21). Goes alone. Answer: None.

    Renews the lease, but to no more than `ALIVE_SECONDS` after the last `Beat`.
    """


class Drain(NamedTuple):
    """This worker takes no more claims. Answer: None."""


class Leave(NamedTuple):
    """The worker ends in order. Answer: None.

    What it still holds is released, uncounted, once its process has ended.
    """


# -- requests: tasks ----------------------------------------------------------------------------


OnConflict = Literal["existing", "reject", "replace"]
EXISTING: Final = "existing"
REJECT: Final = "reject"
REPLACE: Final = "replace"


class Add(NamedTuple):
    """Accept a task (PENDING or SCHEDULED). Idempotent by its id. Answer: None.

    If its `idempotency_key` came before with the same `fingerprint`, nothing is stored. Answer: the
    task that was accepted then, as it stands now.

    Otherwise, if an unfinished task of its owner has its `unique_key`, `on_conflict` says what
    becomes of it (rule 31).

    Errors, with nothing stored: `IdempotencyMismatch`, `UniqueKeyTaken`, `TooManyUnfinished`,
    `LimitReached` (its owner's), `JournalUnavailable`.
    """

    task: Task
    again: bool = False
    """Sent before on a connection that broke, so that it may have been accepted and even finished;
    only then the archive is asked."""
    on_conflict: OnConflict = EXISTING
    """`existing`: nothing is stored, and the answer is an `Existing`. `replace`: the other one is
    cancelled if it waits. Whatever is left is refused with `UniqueKeyTaken`, as with `reject`."""
    reach: Filter | None = None
    """The tasks that its sender reaches: another one is neither told of nor replaced. None: all."""


class AddAll(NamedTuple):
    """Accept several tasks, all or none, in one transaction. Idempotent by their ids. Answer: None.

    One with `Task.follows`, the last, follows the others, whose group is its id (rule 30).

    Only the first one has an `idempotency_key`, which stands for all. If it came before with the
    same `fingerprint`, nothing is stored. Answer: the tasks that were accepted then, in order;
    those that retention has deleted are left out, and so are results beyond `MAX_BATCH_BYTES`.

    Errors, with nothing stored: as for `Add`. `UniqueKeyTaken` is raised for any of the tasks, also
    if two of them have the same key.
    """

    tasks: Sequence[Task]
    again: bool = False
    """As in `Add`."""


class Progress(NamedTuple):
    """The progress of a running attempt. Kept in memory only, and sent once. Answer: None.

    Errors: `StaleReport`.
    """

    task_id: str
    attempt: int
    fraction: float
    """0 to 1."""
    message: str | None = None


class SubmitChildren(NamedTuple):
    """Accept tasks that a running attempt submits, all or none. Answer: None.

    Idempotent by their ids, which are made of what is submitted (`afterwards.task_ids`).

    Errors, with nothing stored: `StaleReport` (the task does not run under that attempt),
    `IllegalTransition` (its cancellation was asked for), `ChildrenRefused`, `JournalUnavailable`.
    """

    task_id: str
    """The parent."""
    attempt: int
    tasks: Sequence[Task]


class Succeeded(NamedTuple):
    """Report: the attempt returned `result` (JSON). Answer: None. Errors: `StaleReport`.

    Its children are accepted in the same transaction (rule 29). If they cannot be, the task fails.
    """

    task_id: str
    attempt: int
    result: bytes
    run_seconds: float
    usage: Usage | None = None
    log_lines: Sequence[str] = ()
    children: Sequence[Task] = ()
    """The tasks that it submits with its success."""
    artifacts: str | None = None
    """The files that it has made, as `afterwards.artifacts` lists them; None: there are none."""


class Failed(NamedTuple):
    """Report: the attempt ended in an error. Answer: None. Errors: `StaleReport`."""

    task_id: str
    attempt: int
    error: str
    run_seconds: float
    retry_in_seconds: float | None
    """None: give up."""
    timed_out: bool = False
    usage: Usage | None = None
    log_lines: Sequence[str] = ()
    traceback: str | None = None
    """The traceback of what the task's function has raised."""
    gone: bool = False
    """The receiver of a delivery is gone for good: it has answered 410. Disables its webhook."""


class Released(NamedTuple):
    """Report: interrupted on purpose, not counted. Answer: None. Errors: `StaleReport`."""

    task_id: str
    attempt: int
    reason: str


class Lost(NamedTuple):
    """Report: the attempt's host died, and no other attempt was in it. Answer: None.

    Errors: `StaleReport`.
    """

    task_id: str
    attempt: int
    error: str
    usage: Usage | None = None
    log_lines: Sequence[str] = ()


class Suspected(NamedTuple):
    """Report: the attempt's host died, and other attempts were in it (rule 22). Answer: None.

    Errors: `StaleReport`.
    """

    task_id: str
    attempt: int
    error: str
    crowd: int
    """max(1, n // `CROWD_SHARE`) of the n attempts that had begun in the host."""
    usage: Usage | None = None
    log_lines: Sequence[str] = ()


class Stopped(NamedTuple):
    """Report: stopped because its cancellation was asked for. Answer: None.

    Errors: `StaleReport`, `IllegalTransition` (it was not asked for).
    """

    task_id: str
    attempt: int


class Retry(NamedTuple):
    """A failed or cancelled task again, by hand. Answer: the task.

    Errors: `TaskNotFound`, `TaskDeleted`, `IllegalTransition`, `UniqueKeyTaken`,
    `TooManyUnfinished`, `LimitReached` (its owner's), `JournalUnavailable`.
    """

    task_id: str
    payload: bytes | None = None
    """Takes the place of the task's payload; None: as it was."""
    kind: Kind | None = None
    """The type it is moved to; None: it stays."""
    run_at: float | None = None
    """The time at which it is due; None, or past: now."""
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class RunNow(NamedTuple):
    """Make a scheduled task due, one that backs off included. Answer: the task.

    Errors: `TaskNotFound`, `TaskDeleted`, `IllegalTransition`, `JournalUnavailable`.
    """

    task_id: str
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class Delete(NamedTuple):
    """Delete a finished task, with its history. Its id is remembered for a while. Answer: None.

    Errors: `TaskNotFound`, `TaskDeleted`, `IllegalTransition` (also while it has the idempotency
    key of a batch whose other tasks are kept), `JournalUnavailable`.
    """

    task_id: str
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class Amend(NamedTuple):
    """Change a scheduled task before it is due. Answer: the task.

    Errors: as for `Retry`.
    """

    task_id: str
    payload: bytes | None = None
    """Takes the place of the task's payload; None: as it was."""
    kind: Kind | None = None
    """The type it is moved to; None: it stays."""
    run_at: float | None = None
    """The time at which it is due; None: as it was."""
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class Cancel(NamedTuple):
    """Cancel a task, or ask its holder to. Answer: the task.

    Errors: `TaskNotFound`, `TaskDeleted`, `IllegalTransition`, `JournalUnavailable`.
    """

    task_id: str
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


# -- requests: task types and schedules ---------------------------------------------------------


class Pause(NamedTuple):
    """Start no attempts at tasks of this type until `Resume`. Durable, idempotent. Answer: None.

    Errors: `JournalUnavailable`.
    """

    type: str
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class Resume(NamedTuple):
    """End a `Pause`. Durable, idempotent. Answer: None. Errors: `JournalUnavailable`."""

    type: str
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class PutSchedule(NamedTuple):
    """Make a schedule, or replace the one of this name. Answer: whether there was none before.

    The due times of a schedule whose recurrence stays the same go on; they never move back. When it
    was made, is due and was due last is the registry's to say, whatever is in `schedule`.

    Errors: `ScheduleDeclared`, `TooManySchedules`, `TooManyUnfinished` (no room for its payload),
    `JournalUnavailable`.
    """

    schedule: Schedule
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class PauseSchedule(NamedTuple):
    """Let a schedule rest, or end its rest; times that were due meanwhile are not made up for.

    Idempotent. Answer: the schedule. Errors: `ScheduleNotFound`, `JournalUnavailable`.
    """

    name: str
    paused: bool
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class DeleteSchedule(NamedTuple):
    """Remove a schedule; tasks it has made stay. Answer: None.

    Errors: `ScheduleNotFound`, `ScheduleDeclared`, `JournalUnavailable`.
    """

    name: str
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class DeclareSchedules(NamedTuple):
    """Have exactly these schedules of task modules, all or none (rule 32). Answer: None.

    Idempotent. Of a worker whose generation is behind, nothing is done.

    Errors, with nothing changed: `TooManySchedules`, `TooManyUnfinished` (no room for their
    payloads), `JournalUnavailable`.
    """

    generation: int
    """The generation of the task code that declares them."""
    schedules: Sequence[Schedule]
    """All that its modules declare; each has its `Schedule.module`."""


class RunSchedule(NamedTuple):
    """Make one task of a schedule now, paused or not; its due times stay. Answer: the task.

    Idempotent by the task's id. Errors: `ScheduleNotFound`, `UniqueKeyTaken`, `TooManyUnfinished`,
    `JournalUnavailable`.
    """

    name: str
    task_id: str
    """The id of the task that is made."""
    by: By | None = None
    """The author, if it is asked for by hand: then it leaves an entry in the log of activity."""


class Note(NamedTuple):
    """Have an entry in the log of activity, or complete that of a call for many. Answer: None.

    Errors: `JournalUnavailable`.
    """

    by: By
    verb: str
    object: str
    name: str
    outcome: str
    detail: str | None = None


# -- requests: reading --------------------------------------------------------------------------


class Get(NamedTuple):
    """Answer: the task as committed.

    Errors: `TaskNotFound`, `TaskDeleted`, `JournalUnavailable`.
    """

    task_id: str


class Inspect(NamedTuple):
    """Answer: `Details`, everything that is known of a task, as committed.

    Errors: `TaskNotFound`, `TaskDeleted`, `JournalUnavailable`.
    """

    task_id: str
    tracebacks: bool = False
    """True if the tracebacks of its attempts are told, too."""


class Find(NamedTuple):
    """Answer: a `Page` of tasks, as committed.

    It has at most `limit`, and fewer if they are large. It takes about as long with a million
    stored tasks as with a thousand, whatever is asked for: what no index knows is looked for as
    long as a scan may last, and `Page.scan` says how far that came. Errors: `JournalUnavailable`.
    """

    filter: Filter = Filter()
    limit: int = 100
    before: PageEnd | None = None
    """The `Page.next` of the page before."""
    order: Order = Order.CREATED
    summary: bool = False
    """Without results, and with the beginning of each payload only."""


class Members(NamedTuple):
    """Answer: a `Page` of the members of a group, in the order of their acceptance, as committed.

    It has at most `limit`, and fewer if they are large. Errors: `JournalUnavailable`.
    """

    group: str
    after: int = 0
    """The `Page.next` of the page before."""
    limit: int = 100


class Count(NamedTuple):
    """Answer: `Counted`, how many tasks there are that a `Find` with the same filter would list.

    Errors: `JournalUnavailable`.
    """

    filter: Filter = Filter()
    most: int | None = None
    """Count no further than this; None: to the end, but no longer than a scan may last."""


class Errors(NamedTuple):
    """Answer: an `ErrorPage`, by the number of tasks, as committed. Errors: `JournalUnavailable`.

    A group has the failed tasks of one type with the same error, but for ids, numbers and quoted
    parts. There are at most a thousand groups.
    """

    type: str | None = None
    id: str | None = None
    """Only this group."""
    latest_first: bool = False
    """By the time that they were seen last."""
    limit: int = 1_000


class Activity(NamedTuple):
    """Answer: an `ActivityPage`, newest first, as committed. Errors: `JournalUnavailable`."""

    limit: int = 100
    before: int | None = None
    """The `ActivityPage.next` of the page before."""


class Counts(NamedTuple):
    """Answer: how many tasks there are, a mapping (type, state) -> number."""


class Changes(NamedTuple):
    """Answer: an `Events` with what has been committed since (`epoch`, `after`)."""

    epoch: str
    after: int


class GetSchedule(NamedTuple):
    """Answer: the schedule. Errors: `ScheduleNotFound`."""

    name: str


class Schedules(NamedTuple):
    """Answer: a `SchedulePage`, by name. It has at most `limit`, and fewer if they are large."""

    limit: int = 100
    after: str | None = None
    """The `SchedulePage.next` of the page before."""
    payloads: bool = False
    """True if the schedules' patterns have payloads; otherwise those are empty."""
    results: bool = False
    """True if the latest tasks of each are told. Errors then: `JournalUnavailable`."""


class Stats(NamedTuple):
    """Answer: a `Statistics`."""


class Series(NamedTuple):
    """Answer: a `SeriesRows`, what happened in the past. Errors: `JournalUnavailable`."""

    range: str
    """A key of `afterwards.buckets.STEPS`."""
    type: str | None = None
    """The type of the tasks; None: any type."""


class ListWorkers(NamedTuple):
    """Answer: a `WorkerList`."""


class Scrape(NamedTuple):
    """Answer: the metrics of the whole service in Prometheus' text format (bytes)."""

    counts: WorkerCounts | None = None
    """The counts of the asking worker, so that the answer is up to date."""


class Probe(NamedTuple):
    """Answer: None after a write to the journal. Errors: `JournalUnavailable`."""


ABOUT_THE_WORKER = frozenset({Join, Beat, Alive, Drain, Leave})
ReadById = Get | Inspect

Report = Succeeded | Failed | Released | Lost | Suspected | Stopped
Request = (
    Join | Beat | Alive | Drain | Leave | Add | AddAll | SubmitChildren | Progress | Report
    | Retry | Amend | Cancel
    | RunNow | Delete | Pause | Resume | PutSchedule | PauseSchedule | DeleteSchedule
    | DeclareSchedules | RunSchedule
    | Note | Activity
    | Get | Inspect | Find | Members | Count | Errors | Counts | Changes | GetSchedule | Schedules
    | Stats | Series | ListWorkers | Scrape | Probe
    | CreateKey | RotateKey | RevokeKey | KeysOff | OpenSession | EndSession | Touch | Share | Keys
    | PutWebhook | RotateSecret | EnableWebhook | DeleteWebhook | ReplayWebhook | SendTest
    | GetWebhook | ListWebhooks
)  # fmt: skip
