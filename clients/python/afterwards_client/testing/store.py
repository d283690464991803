"""The tasks of a fake service: accepted, due, and ended, with the events of that."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import uuid4

from afterwards_client.testing.clock import FakeClock, shown
from afterwards_client.testing.problems import Refusal, illegal, not_found
from afterwards_client.testing.record import FINAL, WAITING, Record
from afterwards_client.testing.task_types import FakeTypes


class StoredEvent(NamedTuple):
    """An event of a task."""

    number: int
    kind: str
    """`state` or `progress`."""
    task: Record
    status: str
    """The state of the task then."""
    data: Mapping[str, Any]


class Accepted(NamedTuple):
    """The answer to a submission."""

    records: Sequence[Record]
    replayed: bool = False
    existing: bool = False


class Store:
    """All tasks, in the order of their submission."""

    def __init__(self, clock: FakeClock, types: FakeTypes) -> None:
        self._clock = clock
        self._types = types
        self.ended: Callable[[Record], None] = lambda _: None
        """Hears of each task that has come to its end."""
        self._records: dict[str, Record] = {}
        self._deleted: set[str] = set()
        self._keys: dict[str, tuple[str, list[str]]] = {}
        self._number = 0
        self.events: list[StoredEvent] = []

    def __iter__(self) -> Any:
        return iter(list(self._records.values()))

    def get(self, task_id: str) -> Record:
        """The task of this id. Raises `Refusal`."""
        if task_id in self._deleted:
            detail = f"Task {task_id} was finished, and has been deleted"
            raise Refusal(HTTPStatus.GONE, detail)
        found = self._records.get(task_id)
        if found is None:
            raise not_found()
        return found

    # -- acceptance ----------------------------------------------------------------------------

    def accept(self, key: str | None, sent: Any, make: Callable[[], list[Record]]) -> Accepted:
        """Accept what is submitted under an idempotency key, or give what was accepted before.

        Args:
            sent: the body, which has to be the same again.
        """
        fingerprint = json.dumps(sent, sort_keys=True)
        known = None if key is None else self._keys.get(key)
        if known is not None:
            former, ids = known
            if former != fingerprint:
                detail = (
                    f"The idempotency key {key!r} was used for another submission, which became "
                    f"task {ids[0]}; use a new key for a new submission"
                )
                raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
            kept = [self._records[one] for one in ids if one in self._records]
            return Accepted(kept, replayed=True)
        records = make()
        fresh = [one for one in records if one.id not in self._records]
        for one in fresh:
            self._records[one.id] = one
            self._tell(one, "submitted")
        if key is not None and fresh:
            fresh[0].idempotency_key = key
            self._keys[key] = fingerprint, [one.id for one in fresh]
        return Accepted(records, existing=not fresh)

    def new(self, wanted: Mapping[str, Any], **members: Any) -> Record:
        """A task as it was submitted; not accepted yet."""
        now = self._clock.now()
        task_type = self._types.require(wanted["type"])
        delay = wanted.get("delay_seconds")
        run_at = now if delay is None else now + timedelta(seconds=delay)
        if "run_at" in wanted:
            run_at = max(now, datetime.fromisoformat(wanted["run_at"]))
        self._number += 1
        said = {
            name: wanted[name]
            for name in (
                *("priority", "timeout_seconds", "labels", "concurrency_key", "unique_key"),
                "callback",
            )
            if name in wanted
        }
        deadline = wanted.get("deadline")
        return Record(
            id=str(uuid4()),
            number=self._number,
            type=task_type.name,
            payload=wanted.get("payload", {}),
            created_at=now,
            max_attempts=wanted.get("max_attempts", task_type.max_attempts),
            executor=task_type.executor,
            deadline=None if deadline is None else datetime.fromisoformat(deadline),
            **{
                "status": "scheduled" if run_at > now else "pending",
                "run_at": run_at,
                **said,
                **members,
            },
        )

    def with_unique_key(self, key: str | None, but: str = "") -> Record | None:
        """The unfinished task that has the key; None: none has."""
        if key is None:
            return None
        for one in self:
            if one.unique_key == key and not one.is_final and one.id != but:
                found: Record = one
                return found
        return None

    def single(self, wanted: Mapping[str, Any]) -> list[Record]:
        """A task to accept, or the one that has its unique key. Raises `Refusal`."""
        other = self.with_unique_key(wanted.get("unique_key"))
        new = self.new(wanted)
        if other is None:
            return [new]
        conflict = wanted.get("on_conflict", "existing")
        if conflict == "existing":
            return [other]
        if conflict == "reject" or other.status not in WAITING:
            raise taken(other)
        error = f"Replaced by task {new.id}, which has the same unique key"
        self.end(other, "cancelled", error)
        return [new]

    def batch(
        self, tasks: Sequence[Mapping[str, Any]], then: Mapping[str, Any] | None
    ) -> list[Record]:
        """Tasks to accept together, the one that follows them last. Raises `Refusal`."""
        everything = [*tasks, *([] if then is None else [then])]
        keys = [one["unique_key"] for one in everything if "unique_key" in one]
        for key in keys:
            other = self.with_unique_key(key)
            if other is not None:
                raise taken(other)
            if keys.count(key) > 1:
                raise taken(None, key)
        records = [self.new(one) for one in tasks]
        if then is None:
            return records
        on = then.get("on", "success")
        follower = self.new(then, status="scheduled", run_at=None, follows=on, members=len(records))
        for record in records:
            record.group = follower.id
        return [*records, follower]

    # -- time and ends -------------------------------------------------------------------------

    def make_due(self) -> list[Record]:
        """Make due what has come by now; gives the tasks that an attempt could begin of."""
        now = self._clock.now()
        for one in self:
            if one.deadline is not None and one.deadline <= now and one.status in WAITING:
                at = one.deadline.isoformat(timespec="seconds")
                self.end(one, "failed", f"Not started before its deadline ({at})")
            elif one.status == "scheduled" and one.run_at is not None and one.run_at <= now:
                self.move(one, "pending", "due")
        return [one for one in self if one.status == "pending"]

    def move(self, record: Record, status: str, reason: str) -> None:
        """A state that is no end."""
        record.status = status
        self._tell(record, reason)

    def start(self, record: Record) -> None:
        """An attempt begins, unless one runs."""
        if record.status != "processing":
            record.start(self._clock.now())
            self._tell(record, "claimed")

    def end(self, record: Record, status: str, error: str | None = None) -> None:
        """A task comes to its end, and what follows it is settled."""
        record.finish(status, self._clock.now(), error)
        self._tell(record, status)
        self.ended(record)
        if record.group is not None and record.group in self._records:
            self._settle(self._records[record.group])

    def back_off(self, record: Record, error: str, seconds: float) -> None:
        """An attempt failed, and another one follows."""
        now = self._clock.now()
        record.back_off(error, now + timedelta(seconds=seconds), now)
        self._tell(record, f"attempt {record.attempts} failed")

    def retry(self, record: Record, run_at: datetime | None, changes: Mapping[str, Any]) -> None:
        """A task again, by hand. Raises `Refusal`."""
        record.require("be retried", "failed", "cancelled")
        other = self.with_unique_key(record.unique_key, record.id)
        if other is not None:
            raise taken(other)
        self.change(record, changes)
        record.retry(self._clock.now(), run_at)
        self._tell(record, "retried by hand")

    def change(self, record: Record, changes: Mapping[str, Any]) -> None:
        """Another payload, or another type."""
        record.payload = changes.get("payload", record.payload)
        if "type" in changes:
            task_type = self._types.require(changes["type"])
            record.type, record.executor = task_type.name, task_type.executor
            record.max_attempts = task_type.max_attempts

    def cancel(self, record: Record) -> str:
        """Cancel a task; gives the outcome."""
        if record.is_final:
            return "finished"
        was_running = record.status == "processing"
        when = "while running" if was_running else "before it was started"
        self.end(record, "cancelled", f"Cancelled {when}")
        return "stopped" if was_running else "prevented"

    def delete(self, record: Record) -> None:
        """Delete a finished task. Raises `Refusal`."""
        record.require("be deleted; cancel it first", *FINAL)
        ids = self._keys.get(record.idempotency_key or "", ("", []))[1]
        if len([one for one in ids if one in self._records]) > 1:
            verb = "be deleted before the others of its batch, whose idempotency key it has"
            raise illegal(record.id, record.status, verb)
        del self._records[record.id]
        self._keys.pop(record.idempotency_key or "", None)
        self._deleted.add(record.id)

    def report_progress(self, record: Record, fraction: float, message: str | None) -> None:
        """A running attempt tells how far it is."""
        at = shown(self._clock.now())
        record.progress = {"fraction": fraction, "message": message, "at": at}
        self._add(record, "progress", {"fraction": fraction, "message": message, "at": at})

    def members_of(self, follower: Record) -> list[Record]:
        """The tasks that a task follows and that are kept."""
        return [one for one in self if one.group == follower.id]

    def _settle(self, follower: Record) -> None:
        if follower.is_settled or not follower.waits_for_group:
            return
        members = self.members_of(follower)
        lost = [one for one in members if one.status in ("failed", "cancelled")]
        if follower.follows == "success" and lost:
            follower.is_settled = True
            why = f"Task {lost[0].id} of its group is {lost[0].status}"
            self.end(follower, "cancelled", why)
        elif all(one.is_final for one in members):
            follower.is_settled = True
            follower.run_at = self._clock.now()
            self.move(follower, "pending", "its group is finished")

    def _tell(self, record: Record, reason: str) -> None:
        at = shown(self._clock.now())
        self._add(record, "state", {"status": record.status, "at": at, "reason": reason})

    def _add(self, record: Record, kind: str, members: Mapping[str, Any]) -> None:
        data = {"task_id": record.id, "type": record.type, "attempt": record.attempts, **members}
        number = len(self.events) + 1
        self.events.append(StoredEvent(number, kind, record, record.status, data))


def taken(other: Record | None, key: str = "") -> Refusal:
    """A unique key has an unfinished task, or is there twice."""
    if other is None:
        detail = (
            "Another task that is unfinished, or in the same batch, has the unique key "
            f"{key!r}; use another key"
        )
        return Refusal(HTTPStatus.CONFLICT, detail)
    detail = (
        f"Task {other.id} is unfinished and has the unique key {other.unique_key!r}; wait for its "
        "end, cancel it, or use another key"
    )
    return Refusal(HTTPStatus.CONFLICT, detail, task_id=other.id)
