"""The log of activity: an act by hand leaves an entry in the transaction that does it.

Only a request that says who has asked for it leaves one. What is refused does as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from afterwards.access.key import Key
from afterwards.errors import AfterwardsError, JournalUnavailable
from afterwards.logs import get_logger
from afterwards.moments import shown
from afterwards.registry.journal.base import Journal
from afterwards.registry.protocol.activity import By, Entry, Outcome, cut
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.key_requests import (
    CreateKey,
    EndSession,
    KeysOff,
    OpenSession,
    RevokeKey,
    RotateKey,
)
from afterwards.registry.protocol.requests import (
    Amend,
    Cancel,
    Delete,
    DeleteSchedule,
    Note,
    Pause,
    PauseSchedule,
    PutSchedule,
    Resume,
    Retry,
    RunNow,
    RunSchedule,
)
from afterwards.registry.protocol.webhook_requests import (
    DeleteWebhook,
    EnableWebhook,
    PutWebhook,
    ReplayWebhook,
    RotateSecret,
    SendTest,
)
from afterwards.registry.state.ages import TrustedTime
from afterwards.registry.state.keys import KeyBook
from afterwards.registry.state.schedule_table import ScheduleTable
from afterwards.registry.state.webhooks import WebhookBook

log = get_logger(__name__)

PAUSE_SECONDS: Final = 60.0
"""Between two looks for old entries."""

STEP_PAUSE_SECONDS: Final = 0.05
"""Between two steps while there are any."""

Verb = Callable[[Any], Any]


class _Words(NamedTuple):
    """A request as people say it."""

    verb: str
    object: str
    name: str
    detail: str | None = None


class ActivityBook:
    """The entries of the group at work.

    Args:
        schedules: those there are.
    """

    def __init__(
        self, clock: Clock, schedules: ScheduleTable, keys: KeyBook, webhooks: WebhookBook
    ) -> None:
        self._clock = clock
        self._schedules = schedules
        self.entries: list[Entry] = []
        self._bulk: dict[str, int] = {}
        """The places of the entries that more may be added to."""
        self._words: dict[type, Callable[[Any], _Words]] = {
            Cancel: lambda it: _Words("cancel", "task", it.task_id),
            RunNow: lambda it: _Words("run", "task", it.task_id),
            Delete: lambda it: _Words("delete", "task", it.task_id),
            Retry: lambda it: _Words("retry", "task", it.task_id, _changes(it)),
            Amend: lambda it: _Words("change", "task", it.task_id, _changes(it)),
            Pause: lambda it: _Words("pause", "task type", it.type),
            Resume: lambda it: _Words("resume", "task type", it.type),
            PutSchedule: self._put_schedule,
            PauseSchedule: lambda it: _Words(
                "pause" if it.paused else "resume", "schedule", it.name
            ),
            DeleteSchedule: lambda it: _Words("delete", "schedule", it.name),
            RunSchedule: lambda it: _Words("run", "schedule", it.name, f"task {it.task_id}"),
            **_words_of_keys(keys),
            **_words_of_webhooks(webhooks),
        }

    def noting(self, verbs: Mapping[type, Verb]) -> dict[type, Verb]:
        """The same verbs; those that people use by hand leave an entry."""
        by_hand = {kind: self._noting(verbs[kind], words) for kind, words in self._words.items()}
        return {**verbs, **by_hand, Note: self._note}

    def clear(self) -> None:
        """The group is durable, or was taken back."""
        self.entries = []
        self._bulk.clear()

    def add_by_itself(self, verb: str, object_: str, name: str, detail: str | None) -> None:
        """Add what has happened by itself, and has to be told all the same."""
        self._add(_Words(verb, object_, name, detail), By(), 0, Outcome.DONE)

    # -- how -----------------------------------------------------------------------------------

    def _noting(self, verb: Verb, words_of: Callable[[Any], _Words]) -> Verb:
        def carry_out(request: Any) -> Any:
            by: By | None = request.by
            if by is None:
                return verb(request)
            words = words_of(request)
            try:
                answer = verb(request)
            except AfterwardsError as error:
                # Of a call for many, only what was done counts.
                if by.bulk is None:
                    self._add(words._replace(detail=str(error)), by, 0, Outcome.REFUSED)
                raise
            if by.bulk is not None:
                part = words._replace(object="tasks", name=by.bulk.what, detail=by.bulk.detail)
                self._add(part, by, 1, Outcome.BEGUN)
            else:
                self._add(words, by, 1, Outcome.DONE)
            return answer

        return carry_out

    def _note(self, note: Note) -> None:
        words = _Words(note.verb, note.object, note.name, note.detail)
        self._add(words, note.by, 0, note.outcome)

    def _add(self, words: _Words, by: By, affected: int, outcome: str) -> None:
        bulk = None if by.bulk is None else by.bulk.id
        entry = Entry(
            self._clock.wall(),
            words.verb,
            words.object,
            cut(words.name),
            affected,
            str(outcome),
            None if words.detail is None else cut(words.detail),
            by.actor,
            by.request_id,
            by.address,
            bulk,
            by.key_id,
        )
        if bulk is None:
            self.entries.append(entry)
            return
        # A hundred tasks of a portion are one row.
        place = self._bulk.setdefault(bulk, len(self.entries))
        if place == len(self.entries):
            self.entries.append(entry)
        else:
            first = self.entries[place]
            affected = first.affected + entry.affected
            self.entries[place] = entry._replace(at=first.at, affected=affected)

    def _put_schedule(self, request: PutSchedule) -> _Words:
        schedule = request.schedule
        verb = "create" if self._schedules.get(schedule.name) is None else "replace"
        times = schedule.cron or f"every {schedule.every_seconds:g} s"
        return _Words(verb, "schedule", schedule.name, f"{schedule.pattern.type}: {times}")


def _words_of_keys(keys: KeyBook) -> dict[type, Callable[[Any], _Words]]:
    """The words for requests about keys. They are looked for before the request is carried out."""

    def of_key(verb: str, key_id: str, detail: str) -> _Words:
        return _Words(verb, "key", keys.name_of(key_id), detail)

    return {
        CreateKey: lambda it: _Words("create", "key", it.key.name, _rights(it.key)),
        RotateKey: lambda it: of_key("rotate", it.key_id, f"{it.key_id} by {it.new_id}"),
        RevokeKey: lambda it: of_key("revoke", it.key_id, it.key_id),
        KeysOff: lambda _: _Words("turn off", "keys", "all"),
        OpenSession: lambda it: _Words("open", "session", keys.name_of(it.session.key_id)),
        EndSession: lambda it: _Words("end", "session", keys.name_of_session(it.digest)),
    }


def _rights(key: Key) -> str:
    rights = key.role or " and ".join(sorted(key.grants)) or "nothing"
    return f"{key.id}: {rights}"


def _words_of_webhooks(webhooks: WebhookBook) -> dict[type, Callable[[Any], _Words]]:
    """The words for requests about webhooks. URLs, which may give access, are in none."""

    def of(verb: str, name: str, detail: str | None = None) -> _Words:
        return _Words(verb, "webhook", name, detail)

    def put(request: PutWebhook) -> _Words:
        given = request.webhook
        verb = "create" if webhooks.find(given.name) is None else "replace"
        return of(verb, given.name, ", ".join(sorted(given.events)))

    return {
        PutWebhook: put,
        RotateSecret: lambda it: of("rotate", it.name),
        EnableWebhook: lambda it: of("enable" if it.enabled else "disable", it.name),
        DeleteWebhook: lambda it: of("delete", it.name),
        ReplayWebhook: lambda it: of("replay", it.name, f"task {it.task_id}"),
        SendTest: lambda it: of("test", it.name, f"delivery {it.task_id}"),
    }


def _changes(request: Retry | Amend) -> str | None:
    parts = []
    if request.payload is not None:
        parts.append("another payload")
    if request.kind is not None:
        parts.append(f"moved to {request.kind.type}")
    if request.run_at is not None:
        parts.append(f"due {shown(request.run_at).isoformat(timespec='seconds')}")
    return ", ".join(parts) or None


class OldActivity:
    """Decides which entries to delete next: the old ones, and the oldest of too many.

    Args:
        time: what ages go by.
        kept_seconds: how long an entry is kept.
    """

    def __init__(
        self, journal: Journal, clock: Clock, time: TrustedTime, kept_seconds: float
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._time = time
        self._seconds = kept_seconds
        self._next_step = clock.elapsed()
        self.overdue: Sequence[int] = ()
        """To be deleted by the group at work."""

    def step(self) -> None:
        """Choose a few, if it is time to. Those of a group that was taken back are chosen again."""
        now = self._clock.elapsed()
        if now < self._next_step:
            return
        self._next_step = now + PAUSE_SECONDS
        try:
            self.overdue = self._journal.overdue_activity(self._time.now() - self._seconds)
        except JournalUnavailable as error:
            log.warning("old activity cannot be looked for; trying again", error=str(error))
            return
        if self.overdue:
            self._next_step = now + STEP_PAUSE_SECONDS

    def committed(self) -> None:
        """They are deleted."""
        self.overdue = ()
