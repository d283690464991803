"""The working set of an exchange: read and locked in one round trip, and put into `Rules`.

The rules are those of every registry. They find here all that the requests and the claims of one
exchange may touch; whatever else they ask for is read for them (`TransactionArchive`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import orjson

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.postgresql import plans as type_plans
from afterwards.registry.postgresql import workers
from afterwards.registry.postgresql.archive import SELECT_BY_KEYS, TransactionArchive
from afterwards.registry.postgresql.books import NO_SUMS, BookReading, Known, Opened
from afterwards.registry.postgresql.columns import (
    SELECTED_TO_WORK,
    Stored,
    to_stored,
    to_task,
)
from afterwards.registry.postgresql.database import Conflict, Rows, Statement, Transaction
from afterwards.registry.postgresql.ids import is_id
from afterwards.registry.postgresql.needs import Needs
from afterwards.registry.postgresql.plans import TypePlans
from afterwards.registry.postgresql.store import Moment, WorkingStore
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.requests import Beat, Held, Join, Pause, Request, Resume
from afterwards.registry.state.acceptance import Limits
from afterwards.registry.state.ledger import WorkerRecord
from afterwards.registry.state.rules import Rules

UNFINISHED: Final = "unfinished"
"""A counter beside those of `afterwards.counts`: unfinished tasks, and their bytes of payload."""

_LOCK: Final = f"""
SELECT {SELECTED_TO_WORK}
FROM afterwards.lock_tasks(
    %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s, %s::json
)
"""
_LOCK_BY_ID: Final = (
    f"SELECT {SELECTED_TO_WORK} FROM afterwards.tasks WHERE id = ANY (%s::uuid[]) "
    "ORDER BY id FOR UPDATE"
)
_CLAIMABLE: Final = f"""
SELECT {SELECTED_TO_WORK} FROM afterwards.claimable(%s::json, %s::text[], %s::text[], %s)
"""
SUM_UP: Final[Statement] = (
    f"""
SELECT coalesce(sum(number) FILTER (WHERE label = 'tasks'), 0)::bigint,
    coalesce(sum(number) FILTER (WHERE label = 'bytes'), 0)::bigint,
    (SELECT schedules FROM afterwards.service), (SELECT schedule_bytes FROM afterwards.service)
FROM afterwards.counts WHERE counter = '{UNFINISHED}'
""",
    (),
)
"""The room that is taken: tasks, their bytes, schedules, and theirs."""
_CANCELS: Final = """
SELECT id::text, attempt FROM afterwards.tasks
WHERE worker = %s AND cancel_requested AND told IS DISTINCT FROM %s ORDER BY id
"""
_TRY_KEYS: Final = """
SELECT type, key, pg_try_advisory_xact_lock(1634104423, afterwards.key_lock(type, key))
FROM unnest(%s::text[], %s::text[]) AS k (type, key)
"""
_COUNT_KEYS: Final = """
SELECT k.type, k.key, (SELECT count(*) FROM afterwards.tasks AS t
    WHERE t.type = k.type AND t.concurrency_key = k.key AND t.state = 'processing')
FROM unnest(%s::text[], %s::text[]) AS k (type, key)
"""
# What may start once those that run have ended. None but the holder of the key's lock changes it.
_NEXT_OF_KEYS: Final = f"""
SELECT {SELECTED_TO_WORK} FROM afterwards.tasks WHERE id IN (
    SELECT w.id FROM unnest(%s::text[], %s::text[], %s::int[]) AS k (type, key, number),
    LATERAL (SELECT t.id FROM afterwards.tasks AS t
        WHERE t.type = k.type AND t.concurrency_key = k.key AND t.state = 'pending'
            AND t.crowd = 0 ORDER BY t.priority DESC, t.age LIMIT k.number) AS w
) ORDER BY age FOR UPDATE SKIP LOCKED
"""
_COUNT_MEMBERS: Final = """
SELECT g.id::text, (SELECT count(*) FROM afterwards.tasks AS t
    WHERE t.task_group = g.id AND t.finished_at IS NULL)
FROM unnest(%s::uuid[]) AS g (id)
"""
_LOCK_UNIQUE: Final = (
    f"SELECT {SELECTED_TO_WORK} FROM afterwards.tasks WHERE finished_at IS NULL "
    "AND unique_key = ANY (%s) AND coalesce(owner, '') = ANY (%s) ORDER BY id FOR UPDATE"
)
_FIRST_SOLO_LOCK: Final[Statement] = ("SELECT pg_advisory_xact_lock(1634104424, 0)", ())

ConcurrencyKey = tuple[str, str]


class Caller(NamedTuple):
    """The caller of an exchange."""

    worker: Worker | None
    connection: int


@dataclass
class WorkingSet:
    """The rules over what a transaction has read, until it is committed."""

    transaction: Transaction
    rules: Rules
    store: WorkingStore
    moment: Moment
    entry: workers.Entry
    plans: TypePlans
    record: WorkerRecord | None = None
    """The record of the caller as it was found."""
    cancels: list[Held] = field(default_factory=list)
    """Claims of the caller whose cancellation was asked for before, untold."""
    locked_keys: set[ConcurrencyKey] = field(default_factory=set)
    unclaimed: bool = False
    """True if there are tasks that could be claimed and were not looked at."""
    caller: Caller = field(default_factory=lambda: Caller(None, 0))
    schedule_sums: tuple[int, int] = NO_SUMS
    """The number of schedules, and the bytes of their payloads, before this transaction."""

    @property
    def record_now(self) -> WorkerRecord | None:
        """The record of the caller after its requests; None: it has none."""
        return self.rules.ledger.find(str(self.caller.worker)) if self.caller.worker else None

    @property
    def last_created_at(self) -> float:
        """`created_at` of the latest task that was accepted; 0: none was."""
        return max((c.new.created_at for c in self.store.changes if c.new), default=0.0)


class Opening:
    """Opens working sets.

    Args:
        service: whose workers may join.
        limits: what bounds the registry.
    """

    def __init__(self, service: str, limits: Limits, roster: workers.Roster) -> None:
        self.service = service
        self._limits = limits
        self._roster = roster
        self.plans = TypePlans()
        self.known = Known()
        self.declarations_told_of = 0
        """The latest generation of task code whose schedules this process has logged."""

    def rules(self, archive: TransactionArchive, next_order: int, created_at: float) -> Rules:
        """Rules with nothing in them, on clocks that stand still."""
        return Rules(
            self.service,
            Moment(),
            archive,
            self._limits,
            next_order=next_order,
            last_created_at=created_at,
            make_store=WorkingStore,
        )

    def open(
        self,
        transaction: Transaction,
        caller: Caller,
        requests: Sequence[Request],
        *,
        next_order: int,
        last_created_at: float,
    ) -> WorkingSet:
        """Read and lock what an exchange needs.

        Raises:
            Conflict: what was known of the plans is out of date; it is known now.
        """
        needs = Needs.of(requests)
        reading = _Reading(self, caller, requests, needs)
        found = transaction.run(reading.statements())
        entry = workers.Entry._make(found[0][0])
        archive = TransactionArchive(transaction)
        rules = self.rules(archive, next_order, last_created_at)
        store, moment = rules.store, rules.clock
        assert isinstance(store, WorkingStore)
        assert isinstance(moment, Moment)
        archive.serve(store)
        moment.now, moment.passed = entry.wall, entry.elapsed
        working = WorkingSet(transaction, rules, store, moment, entry, self.plans, caller=caller)
        self._check_plans(working, reading)
        if entry.known and caller.worker is not None:
            working.record = workers.to_record(rules.ledger, caller.worker, entry)
        rules.ledger.generation = entry.latest_generation or 0
        reading.take_in(working, archive, found)
        return working

    def _check_plans(self, working: WorkingSet, reading: _Reading) -> None:
        if working.entry.plans_version == self.plans.version:
            return
        self.plans = working.plans = type_plans.load(working.transaction)
        if reading.must_begin_anew(self.plans):
            raise Conflict("limits of task types")


class _Reading:
    """The first round trip of an exchange, statement by statement, and what becomes of its rows."""

    def __init__(
        self, opening: Opening, caller: Caller, requests: Sequence[Request], needs: Needs
    ) -> None:
        self._opening = opening
        self._plans = opening.plans
        self._caller = caller
        self._needs = needs
        worker, connection = caller
        self._name = None if worker is None else str(worker)
        self._remembered = (
            None if self._name is None else opening._roster.find(self._name, connection)  # noqa: SLF001 - its own part
        )
        self._slots = next((r.slots for r in requests if isinstance(r, Join | Beat)), None)
        self._limits = next((r.limits for r in requests if type(r) is Join), None)
        self._books = BookReading(requests)
        self._changes_plans = self._books.changes_plans or any(
            type(r) in (Pause, Resume) for r in requests
        )
        self._parts: list[str] = []

    def must_begin_anew(self, plans: TypePlans) -> bool:
        """True if this has read by other plans than those that hold."""
        claims = bool(self._lanes()) or self._limits is not None
        return claims and plans != self._plans

    def _lanes(self) -> dict[str, int]:
        if self._remembered is not None and self._remembered.takes and self._slots is None:
            return self._remembered.lanes(self._needs.reports)
        if self._slots is None:
            return {}
        return {kind: number for kind, number in self._slots.items() if number > 0}

    # -- the statements ------------------------------------------------------------------------

    def statements(self) -> list[Statement]:
        """All of them; the first one gives an `Entry`."""
        changes = self._changes_plans or (
            self._limits is not None and dict(self._limits) != dict(self._plans.limits)
        )
        statements: list[Statement] = [
            (workers.ENTER, (self._name, self._opening.service, changes)),
        ]
        for part, made in (
            *self._books.statements().items(),
            ("locked", self._lock()),
            ("keyed", self._look_up()),
            ("room", SUM_UP if self._needs.needs_room else None),
            ("held", self._count_held()),
            ("cancels", self._cancels()),
            ("budgets", self._budgets()),
            ("claimable", self._claimable()),
        ):
            if made is not None:
                self._parts.append(part)
                statements.append(made)
        return statements

    def _lock(self) -> Statement | None:
        needs = self._needs
        ids = [one for one in (*needs.ids, *needs.known) if is_id(one)]
        omitting = self._name if needs.held is not None else None
        if not (ids or needs.unique_keys or needs.concurrency_keys or omitting):
            return None
        held = [{"id": h.task_id, "attempt": h.attempt} for h in needs.held or () if is_id(h[0])]
        unique, owners = _columns(needs.unique_keys)
        types, keys = _columns(sorted(needs.concurrency_keys))
        values = (ids, unique, owners, types, keys, omitting, orjson.dumps(held).decode())
        return _LOCK, values

    def _look_up(self) -> Statement | None:
        keys = self._needs.idempotency_keys
        return (SELECT_BY_KEYS, (keys,)) if keys else None

    def _count_held(self) -> Statement | None:
        if self._name is None or (self._remembered is not None and self._slots is None):
            return None
        return workers.COUNT_HELD, (self._name,)

    def _cancels(self) -> Statement | None:
        return None if self._name is None else (_CANCELS, (self._name, self._caller.connection))

    def _budgets(self) -> Statement | None:
        return self._plans.budget_statement() if self._lanes() and self._plans.limited else None

    def _claimable(self) -> Statement | None:
        lanes = self._lanes()
        if not lanes:
            return None
        closed = type_plans.closed_types(self._plans)
        return _CLAIMABLE, (orjson.dumps(lanes).decode(), closed, None, self._plans.version)

    # -- their rows ----------------------------------------------------------------------------

    def take_in(
        self, working: WorkingSet, archive: TransactionArchive, found: Sequence[Rows]
    ) -> None:
        """Put all that was found into the working set."""
        rows = dict(zip(self._parts, found[1:], strict=True))
        locked = [to_stored(row) for row in rows.get("locked", ())]
        for stored in locked:
            working.store.take_in(stored)
        tasks = [stored.task for stored in locked]
        opened = Opened(working.rules, working.entry, working.transaction)
        working.schedule_sums = self._books.take_in(opened, self._opening.known, rows, tasks)
        locked += self._lock_keys_of_new_tasks(working)
        wanted = {*self._needs.ids, *self._needs.known}
        archive.note_missing([one for one in wanted if not working.store.has(one)])
        by_key: dict[str, Task | None] = dict.fromkeys(self._needs.idempotency_keys)
        for row in rows.get("keyed", ()):
            task = to_task(row)
            if task.id in self._needs.unknown:
                raise Conflict("it was submitted before")
            by_key[task.idempotency_key or ""] = task
        archive.note_keys(by_key)
        working.cancels = [Held(*row) for row in rows.get("cancels", ())]
        if "room" in rows:
            working.store.sum_up(*rows["room"][0][:2])
        if working.record is not None:
            workers.set_used(working.record, rows.get("held"), self._remembered)
            if self._remembered is None and self._slots is None:
                rows |= self._look_after_all(working, working.record)
        candidates = [to_stored(row) for row in rows.get("claimable", ())]
        self._complete(working, locked, candidates, rows.get("budgets"))

    def _lock_keys_of_new_tasks(self, working: WorkingSet) -> list[Stored]:
        """Lock the keys of tasks that schedules and webhooks make; who has them."""
        unique, limited = self._books.keys_of_new_tasks(working.rules)
        if not (unique or limited):
            return []
        self._needs.concurrency_keys |= limited
        [rows] = working.transaction.run([lock_statement((), unique, limited)])
        found = [to_stored(row) for row in rows]
        for stored in found:
            working.store.take_in(stored)
        return found

    def _look_after_all(self, working: WorkingSet, record: WorkerRecord) -> dict[str, Rows]:
        """The claims of a worker that was not remembered: only now its slots are known."""
        self._remembered = workers.Remembered.of(record)
        self._plans = working.plans
        made = {"budgets": self._budgets(), "claimable": self._claimable()}
        asked = {part: statement for part, statement in made.items() if statement is not None}
        found = working.transaction.run(list(asked.values()))
        return dict(zip(asked, found, strict=True))

    def _complete(
        self,
        working: WorkingSet,
        locked: Iterable[Stored],
        candidates: Sequence[Stored],
        budgets: Rows | None,
    ) -> None:
        """Read what few exchanges need, in further round trips."""
        claimed = [one for one in candidates if not one.task.is_late(working.entry.wall)]
        complete(
            working,
            [one.task for one in locked],
            self._needs.concurrency_keys,
            claimed,
            claims=bool(self._lanes()),
        )
        restricted = budgets if self._lanes() else None
        type_plans.restrict(working.store, working.plans, restricted)


def lock_statement(
    ids: Sequence[str],
    unique_keys: Iterable[tuple[str, str]],
    concurrency_keys: Iterable[ConcurrencyKey],
) -> Statement:
    """Locks tasks, keys of tasks to come, and those that have such unique keys."""
    unique, owners = _columns(unique_keys)
    types, keys = _columns(sorted(concurrency_keys))
    return _LOCK, (list(ids), unique, owners, types, keys, None, None)


def complete(
    working: WorkingSet,
    locked: Sequence[Task],
    keys: Iterable[ConcurrencyKey],
    candidates: Sequence[Stored],
    *,
    claims: bool = False,
) -> None:
    """Take candidates in, and what is to be known of keys, groups and suspects beside the tasks.

    Args:
        locked: tasks that are taken in already; their concurrency keys are locked.
        keys: further keys that are locked.
        claims: what may start in the place of those that end is taken in as well.
    """
    store = working.store
    working.locked_keys.update(keys)
    working.locked_keys.update(_key(task) for task in locked if task.concurrency_key is not None)
    untried = {
        _key(one.task)
        for one in candidates
        if one.task.concurrency_key is not None and _key(one.task) not in working.locked_keys
    }
    groups = {task.group for task in locked if task.group is not None}
    unique = {
        (task.unique_key, task.owner or "")
        for task in locked
        if task.unique_key is not None and task.state.is_final
    }
    solo = any(one.solo for one in candidates)
    if not (untried or working.locked_keys or groups or unique or solo):
        for one in sorted(candidates, key=_age):
            store.take_in(one)
        return
    first, second = working.transaction.run(
        [(_TRY_KEYS, _columns(sorted(untried))), _FIRST_SOLO_LOCK if solo else ("SELECT 1", ())]
    )
    del second
    working.locked_keys.update((kind, key) for kind, key, is_ours in first if is_ours)
    running = Counter(
        _key(task)
        for task in locked
        if task.concurrency_key is not None and task.state is TaskState.PROCESSING
    )
    following = [(*key, number) for key, number in sorted(running.items()) if claims]
    counted, members, holders, solos, behind = working.transaction.run(
        [
            (_COUNT_KEYS, _columns(sorted(working.locked_keys))),
            (_COUNT_MEMBERS, (sorted(groups),)),
            (_LOCK_UNIQUE, _columns(sorted(unique))),
            (workers.COUNT_SOLO, ()),
            (_NEXT_OF_KEYS, _columns(following, 3)),
        ]
    )
    candidates = [*candidates, *map(to_stored, behind)]
    for row in holders:
        store.take_in(to_stored(row))
    for one in sorted(candidates, key=_age):
        if one.task.concurrency_key is None or _key(one.task) in working.locked_keys:
            store.take_in(one)
    working.unclaimed = len(untried - working.locked_keys) > 0
    _count_keys(store, counted)
    for group, number in members:
        store.sum_up_members(group, number)
    working.rules.ledger.solos = solos[0][0]


def _count_keys(store: WorkingStore, counted: Rows) -> None:
    here: dict[ConcurrencyKey, int] = {}
    pattern: dict[ConcurrencyKey, Task] = {}
    for task in store.gathered(finished=False):
        if task.concurrency_key is None:
            continue
        key = _key(task)
        pattern[key] = task
        here[key] = here.get(key, 0) + (task.state is TaskState.PROCESSING)
    for type_name, name, number in counted:
        key = (type_name, name)
        example = pattern.get(key)
        if example is None:
            example = replace(_NO_TASK, type=type_name, concurrency_key=name)
        store.key_lines.count(example, number - here.get(key, 0))


_NO_TASK: Final = Task("", "", b"", "", 0.0, 0.0)


def _key(task: Task) -> ConcurrencyKey:
    return task.type, task.concurrency_key or ""


def _age(stored: Stored) -> int:
    return stored.age or 0


def _columns(rows: Iterable[Sequence[Any]], number: int = 2) -> tuple[list[Any], ...]:
    """Rows of so many values as columns."""
    columns: tuple[list[Any], ...] = tuple([] for _ in range(number))
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns
