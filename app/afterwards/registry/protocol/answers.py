"""The answers of a registry; `afterwards.registry.protocol.base` has the rules of the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from afterwards.counts import Snapshot
from afterwards.errors import AfterwardsError
from afterwards.lifecycle import DEFAULT_PRIORITY, Task, TaskState
from afterwards.registry.protocol.filters import PageEnd
from afterwards.registry.protocol.requests import Held, WorkerReport
from afterwards.schedules.schedule import Schedule
from afterwards.webhooks.webhook import Target

Answer = Any | AfterwardsError
"""The answer that the request's docstring states, or the error, as a value."""


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
    crowd: int = 0
    """It may share its host with at most `crowd` - 1 others; 0: with any number."""
    generation: int = 0
    """The generation of task code that its worker has announced; 0: the type is the service's
    own."""
    trace: str | None = None
    """As `Task.trace`."""
    retries: int = 0
    """As `Task.retries`; the ids of its children are made of it."""
    depth: int = 0
    """As `Task.depth`."""
    priority: int = DEFAULT_PRIORITY
    labels: str | None = None
    """As `Task.labels`. Its children have both, too, unless they are given others."""
    members: int = 0
    """As `Task.members`."""
    target: Target | None = None
    """The receiver of a delivery, as it is now; None: the task is none."""


class Existing(NamedTuple):
    """The unfinished task that has the unique key of one that was to be added."""

    task: Task


class AttemptRecord(NamedTuple):
    """One attempt, as it is remembered."""

    attempt: int
    worker: str
    """`str` of the incarnation that held it."""
    due_at: float
    """Since when it could have been started."""
    started_at: float
    finished_at: float | None = None
    """None: it runs."""
    run_seconds: float | None = None
    """As its worker measured it; None if it runs, or it is not known."""
    outcome: str | None = None
    """One of `afterwards.counts.OUTCOMES`; None: it runs."""
    error: str | None = None
    """Why it did not succeed."""
    generation: int = 0
    """The generation of task code that it was claimed for."""
    crowd: int = 0
    """So many attempts might share its host; 0: any number."""
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None
    """The processor time of its process; None: it shared one, or it is not known."""
    log_lines: Sequence[str] = ()
    """The last lines that it has printed and logged; of a task's last attempt only."""
    traceback: str | None = None
    """The traceback of what its function has raised; of a task's latest failed attempts only, if
    asked for."""


class ProgressMark(NamedTuple):
    """The progress that a running attempt reported last."""

    attempt: int
    fraction: float
    message: str | None
    at: float


class KeyWait(NamedTuple):
    """The reason why a pending task does not start: its concurrency key is full."""

    key: str
    holders: int | None
    """The number of attempts that run under the key; None: that is not told."""


class Details(NamedTuple):
    """Everything that is known of a task."""

    task: Task
    attempts: Sequence[AttemptRecord]
    """Oldest first; the running one is the last. Of a long history the latest thousand."""
    progress: ProgressMark | None
    """The progress of the running attempt."""
    waiting: KeyWait | None = None
    """None: it does not wait for its key."""
    children: int = 0
    """The number of tasks that it has submitted and that are kept."""


class Scan(NamedTuple):
    """The extent of a look at tasks one by one, because no index knows what was asked for."""

    examined: int
    """The number of tasks that were looked at."""
    reached: float | None
    """The time, of those that the list is in the order of, of the last one; None: there was
    none."""
    complete: bool
    """To the end."""


class Page(NamedTuple):
    """A page of tasks, in the order that was asked for."""

    tasks: Sequence[Task]
    next: PageEnd | None
    """`Find.before` for the next page; None: this was the last."""
    progress: Mapping[str, ProgressMark] = {}
    """The progress of those that run, by task id."""
    scan: Scan | None = None
    """None: an index knew."""
    waiting: Mapping[str, KeyWait] = {}
    """By task id: those that wait for their concurrency key."""


class Counted(NamedTuple):
    """A number of tasks."""

    number: int
    exact: bool = True
    """False: there are at least so many."""


class ErrorGroup(NamedTuple):
    """Tasks of one type that are failed now, with one kind of error."""

    id: str
    """16 hexadecimal digits."""
    type: str
    message: str
    """Their error, with marks in the place of ids, numbers and quoted parts."""
    number: int
    """The number of tasks."""
    first_seen: float
    """The time at which the first one failed since the group was empty."""
    last_seen: float
    series: Sequence[int]
    """The number of failures in each of the last 24 hours, whatever became of the tasks; oldest
    first."""
    sample_ids: Sequence[str] = ()
    """The ids of the newest three."""


class ErrorPage(NamedTuple):
    """Groups of failed tasks."""

    groups: Sequence[ErrorGroup]
    ungrouped: int
    """Failed tasks that are in no group, because there were too many."""


class DueTask(NamedTuple):
    """The task that a schedule has made for a due time."""

    task_id: str
    due: float
    state: TaskState


class SchedulePage(NamedTuple):
    """A page of schedules, by name."""

    schedules: Sequence[Schedule]
    next: str | None
    """`Schedules.after` for the next page; None: this was the last."""
    results: Mapping[str, Sequence[DueTask]] | None = None
    """The latest tasks of each, newest first; None: they were not asked for."""


class Event(NamedTuple):
    """One committed transition, or the progress of a running attempt."""

    sequence: int
    task_id: str
    type: str
    state: TaskState
    at: float
    reason: str
    attempt: int = 0
    progress: ProgressMark | None = None
    """Set: the state is the same as before, and this is what is new."""


class Events(NamedTuple):
    """Committed transitions in order."""

    epoch: str
    """Changes with each start of the registry; sequences of two epochs do not compare."""
    sequence: int
    """The sequence of the last event there is."""
    events: Sequence[Event]
    reset: bool
    """The asked-for position is of another epoch or out of the window: events were missed, and
    `counts` tells where things stand now."""
    counts: Mapping[tuple[str, TaskState], int] | None = None


class Statistics(NamedTuple):
    """The service on one page."""

    snapshot: Snapshot
    uptime_seconds: float
    """The time for which the registry has run."""
    finished_per_second: float
    """Over about the last ten seconds."""
    paused_types: Sequence[str]
    schedules: int
    journal_bytes: int
    """On disk; 0 without a journal."""
    per_second: Mapping[str, float] = {}
    """Tasks `submitted`, `finished` and `failed`, on average of the last ten whole seconds."""


class RunningAttempt(NamedTuple):
    """An attempt that runs, or is about to."""

    task_id: str
    type: str
    attempt: int
    started_at: float


class WorkerView(NamedTuple):
    """A worker, as its registry knows it."""

    id: str
    """`str` of its incarnation."""
    pid: int
    generation: int
    draining: bool
    lease_seconds_left: float | None
    """None: its lease does not end."""
    slots: Mapping[tuple[str, str], int]
    """(executor kind, busy | free | stuck) -> number."""
    report: WorkerReport | None
    """The last report of itself; None: none yet."""
    running: Sequence[RunningAttempt]
    """The 100 oldest."""
    running_total: int


class RegistryView(NamedTuple):
    """The registry process."""

    pid: int
    uptime_seconds: float
    memory_bytes: int | None


class WorkerList(NamedTuple):
    """The workers of the service and the processes beside them."""

    workers: Sequence[WorkerView]
    registry: RegistryView


class SeriesRows(NamedTuple):
    """The buckets of a type, or of all, as `afterwards.buckets.Bucket.encode` makes them."""

    step_seconds: int
    type: str
    """Empty: of all types."""
    last: int
    """The beginning of the bucket that is not over yet."""
    rows: Sequence[tuple[int, bytes]]
    """Times and buckets, in order; those without anything to tell are left out."""
    totals: Sequence[tuple[int, bytes]]
    """The same of all types: they say when the service ran (`Bucket.quiet`)."""
    runs_since: int
    """The service has run since the bucket that begins then, up to now."""
    stored: Sequence[int]
    """As `Bucket.stored`, now."""
    is_kept: bool = True
    """True if the type has series of its own; False if there are too many types."""


class Reply(NamedTuple):
    """The return value of `exchange`."""

    answers: Sequence[Answer]
    """One for each request, in order."""
    claims: Sequence[Claim]
    """New claims for the calling worker, within its free slots; committed."""
    cancels: Sequence[Held]
    """Claims of the calling worker whose cancellation was asked for, told once per connection."""
    keys: int | None = None
    """`Keyring.version`; with another one than it knows, a worker asks for `Keys`. None: this reply
    does not say."""
