"""The contract of a journal: groups of changes in, durable; tasks out, as committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from afterwards.counts import Tally
from afterwards.lifecycle import Change, Task
from afterwards.registry.journal.keys import KeyChanges, KeyState
from afterwards.registry.journal.plans import PlanChanges, Plans
from afterwards.registry.journal.removals import STEP, Removal
from afterwards.registry.journal.resealing import Step
from afterwards.registry.journal.series_rows import Found, Key, SeriesChanges
from afterwards.registry.journal.webhook_rows import WebhookChanges, WebhookState
from afterwards.registry.protocol.activity import ActivityPage, Entry
from afterwards.registry.protocol.answers import Counted, Details, DueTask, ErrorPage, Page
from afterwards.registry.protocol.requests import Activity, Count, Errors, Find, Members
from afterwards.webhooks.notice import Notice

_NO_KEYS: Final = KeyState()
_NO_WEBHOOKS: Final = WebhookState()


@dataclass
class Group:
    """The changes that one transaction writes."""

    changes: Sequence[Change]
    counts: Tally
    """The amounts that the changes add to the counts."""
    plans: PlanChanges | None = None
    """None: nothing of them has changed."""
    series: SeriesChanges | None = None
    """None: no bucket of them is over."""
    at: float = 0.0
    """Wall clock; when deleted ids are remembered from."""
    probe: bool = False
    """Write something even if nothing has changed."""
    trusted_at: float | None = None
    """The time that ages go by, to be noted; None: not now."""
    forget_deleted_before: float | None = None
    """Deleted ids are remembered back to this time."""
    activity: Sequence[Entry] = ()
    """The entries of what was done by hand."""
    overdue_activity: Sequence[int] = ()
    """Entries to be deleted."""
    keys: KeyChanges | None = None
    """None: no key and no session has changed."""
    webhooks: WebhookChanges | None = None
    """None: no webhook and no notice has changed."""
    resealed: Step | None = None
    """Values under the key that writes, in the place of those under others."""
    removals: Sequence[Removal] = ()
    """Files that have to be removed because of the changes."""
    removed: Sequence[Removal] = ()
    """Those that are; nothing is written for them alone, unless they are many."""

    @property
    def is_empty(self) -> bool:
        """True if nothing has to be written now."""
        return not (
            self.changes
            or self.plans
            or self.series
            or self.probe
            or self.forget_deleted_before
            or self.activity
            or self.overdue_activity
            or self.keys
            or self.webhooks
            or self.resealed
            or len(self.removed) >= STEP
        )


@dataclass
class Contents:
    """The contents of a journal that a registry needs at its start."""

    unfinished: Iterator[Task]
    counts: Tally
    plans: Plans
    next_order: int
    last_created_at: float = 0.0
    """The time at which the last task was accepted."""
    trusted_at: float = 0.0
    """The time that ages went by when it was noted last; 0: never."""
    keys: KeyState = _NO_KEYS
    webhooks: WebhookState = _NO_WEBHOOKS


class Journal(Protocol):
    """The store that groups are written to before they are told to anyone."""

    durable: bool
    """True if a task that left the memory can be read back."""

    def load(self) -> Contents:
        """Unfinished tasks, counts and plans as last committed."""

    def write(self, group: Group) -> None:
        """Write the group as one transaction, durable on return.

        Raises:
            JournalLocked: another process has the lock.
            JournalUnavailable: nothing of it was written.
            OutcomeUnknown: it is written or not, and only a recovery will tell.
        """

    def read(self, task_id: str) -> Task | None:
        """The task as committed.

        Raises:
            JournalUnreadable: it cannot be read; so for all methods that read.
        """

    def read_by_key(self, idempotency_key: str) -> Task | None:
        """The task that was accepted under this key, as committed."""

    def due_tasks(self, schedules: Sequence[str]) -> Mapping[str, Sequence[DueTask]]:
        """The latest tasks that each schedule has made for its due times, newest first."""

    def rest_of_batch(self, first: Task) -> Sequence[str]:
        """Ids of the other tasks of a batch, as committed; `first` has its key."""

    def children_of(self, task_id: str) -> tuple[int, int]:
        """The number of a task's children that are kept, and the bytes of their payloads."""

    def members(self, query: Members) -> Page:
        """Members of a group, as committed."""

    def was_deleted(self, task_id: str) -> bool:
        """True if the task was deleted, as far back as that is remembered."""

    def details(self, task_id: str, *, tracebacks: bool = False) -> Details | None:
        """The task with its history, as committed; with the tracebacks of that if asked for."""

    def find(self, query: Find) -> Page:
        """Tasks, the newest or the last finished first, as committed."""

    def count(self, query: Count) -> Counted:
        """The number of tasks that match, as committed."""

    def activity(self, query: Activity) -> ActivityPage:
        """The log of activity, newest first, as committed."""

    def overdue_activity(self, before: float) -> Sequence[int]:
        """Numbers of some entries to delete: older than that, or more than are kept."""

    def errors(self, query: Errors, now: float) -> ErrorPage:
        """Groups of the tasks that are failed now, as committed. `now` by the wall clock."""

    def notices(self, receiver: str, after: int, limit: int) -> Sequence[Notice]:
        """The oldest waiting notices to a receiver with higher numbers, as committed."""

    def overdue(self, finished_before: float, after_order: int) -> tuple[list[Task], int | None]:
        """The next step of retention: finished tasks to delete among the next rows.

        Returns:
            The tasks, without their errors, results and payloads, and the order to go on after;
            None when the end is reached.
        """

    def series(self, key: Key, last: int) -> Found:
        """The buckets of a type from this one to that which begins at `last`, in order."""

    def series_at(self, step: int, at: int) -> Mapping[str, bytes]:
        """The buckets of all types that begin at one time, by type. As `load`, for the start."""

    def latest_series(self, step: int) -> tuple[int, bytes] | None:
        """The last bucket of all types; None: there is none. As `load`, for the start."""

    def size_bytes(self) -> int:
        """On disk; 0 if it is nowhere."""

    def astray(self, *, by_names: bool = False) -> Path | None:
        """A file of its own that is not under its name any more, or was cut short.

        None: all are in their places and whole, or it has none.

        Args:
            by_names: look at the names only, and only if their directory has changed.
        """

    def safeguard(self, path: Path) -> str:
        """Do what can be done for the tasks now that `path` is astray.

        Returns:
            What is left to do, for the operator of the service.
        """

    def to_remove(self, after: str) -> Sequence[Removal]:
        """Some of the files that have to be removed, in the order of their tasks' ids.

        Args:
            after: the task that was the last of those before; empty: begin.

        Returns:
            At most `removals.STEP`; fewer are the last.
        """

    def to_reseal(self) -> Step | None:
        """The next values to be sealed with the key that writes; None: all are.

        For one thread, beside the others that read.
        """

    def left_to_reseal(self) -> int:
        """The number of tasks, at most, that may still have values under another key, or plain."""

    def wal_bytes(self) -> int:
        """The size of the write-ahead log on disk; 0 if there is none."""

    def close(self) -> None:
        """Close all files."""
