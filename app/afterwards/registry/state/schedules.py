"""Schedules: their due times, and the tasks they make when those have come (rule 17).

What is due has its task made in the group in which its next due time is written, so no due time is
ever without its task, or has two; `afterwards.registry.state.due_times` says which were missed.
Tasks of late due times leave half of the room to others, so that clients find some while a service
catches up.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from afterwards.errors import ScheduleDeclared, ScheduleNotFound, TooManySchedules, Unavailable
from afterwards.lifecycle import Task
from afterwards.logs import get_logger
from afterwards.registry.protocol.answers import SchedulePage
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.requests import (
    DeclareSchedules,
    DeleteSchedule,
    PauseSchedule,
    PutSchedule,
    RunSchedule,
    Schedules,
)
from afterwards.registry.state.acceptance import Room
from afterwards.registry.state.due_times import Missed, after, is_late
from afterwards.registry.state.queues import DueQueue
from afterwards.registry.state.schedule_table import ScheduleTable
from afterwards.schedules.schedule import Schedule

log = get_logger(__name__)

MAX_SCHEDULES: Final = 10_000
RETRY_SECONDS: Final = 0.25
"""The time until a due time for which there was no room is tried again."""

FIRING_SECONDS: Final = 0.02
"""The processor time for due schedules in one group: others wait meanwhile, and the rest comes in
the next."""


class Maker(Protocol):
    """Makes the tasks of schedules. What it raises is `Unavailable`: there is no room."""

    def make_scheduled(self, schedule: Schedule, due: float, *, late: bool) -> str | None:
        """The task of a due time, and give its id; None: it is skipped.

        Args:
            late: it has to leave room to others.
        """

    def make_by_hand(self, schedule: Schedule, task_id: str) -> Task:
        """A task beside those."""


class ScheduleBook:
    """All schedules.

    Args:
        table: where they are.
        room: what they have to fit into.
        maker: makes their tasks.
    """

    def __init__(self, clock: Clock, table: ScheduleTable, room: Room, maker: Maker) -> None:
        self._clock = clock
        self.table = table
        self._room = room
        self._maker = maker
        self._due = DueQueue()
        self._before: dict[str, Schedule | None] = {}
        """The schedules that the group at work has changed, as they were before."""
        self._defined: set[str] = set()
        """Those of the changed ones whose definition has changed."""
        self.missed = Missed()
        self._waiting: set[str] = set()
        """The schedules that there was no room for; not tried before `_retry_at` (`elapsed`
        clock)."""
        self._retry_at = 0.0
        self.verbs: Mapping[type, Callable[[Any], Any]] = {
            PutSchedule: self._put,
            PauseSchedule: self._pause,
            DeleteSchedule: self._delete,
            RunSchedule: self._run,
        }

    # -- reading -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.table)

    def get(self, name: str) -> Schedule:
        """The schedule of this name.

        Raises:
            ScheduleNotFound: there is none.
        """
        schedule = self.table.get(name)
        if schedule is None:
            raise ScheduleNotFound(name)
        return schedule

    def page(self, query: Schedules) -> SchedulePage:
        """Some of them, by name."""
        return self.table.page(query)

    def next_due(self) -> float | None:
        """The time (`wall` clock) at which the next one is due that does not wait for room."""
        return self._due.next_due()

    # -- the verbs -----------------------------------------------------------------------------

    def _put(self, request: PutSchedule) -> bool:
        given = request.schedule
        old = self.table.get(given.name)
        _require_by_hand(old)
        if old is None and len(self.table) >= MAX_SCHEDULES:
            raise TooManySchedules(MAX_SCHEDULES)
        before = 0 if old is None else len(old.pattern.payload)
        self._room.require_for_schedule(len(given.pattern.payload), before)
        self.define(self.succeeding(given, old))
        return old is None

    def succeeding(self, given: Schedule, old: Schedule | None) -> Schedule:
        """A definition in the place of another one: with its times, as far as those go on."""
        schedule = replace(
            given,
            created_at=self._clock.wall() if old is None else old.created_at,
            last_due=None if old is None else old.last_due,
            last_task_id=None if old is None else old.last_task_id,
            last_skipped=None if old is None else old.last_skipped,
            next_due=None,
        )
        if schedule.rests:
            return schedule
        goes_on = old is not None and not old.rests and old.recurrence == schedule.recurrence
        next_due = old.next_due if old is not None and goes_on else self._from_now(schedule)
        return replace(schedule, next_due=next_due)

    def _pause(self, request: PauseSchedule) -> Schedule:
        schedule = self.get(request.name)
        if schedule.paused != request.paused:
            schedule = replace(schedule, paused=request.paused, next_due=None)
            if not schedule.rests:
                schedule = replace(schedule, next_due=self._from_now(schedule))
            self.define(schedule)
        return schedule

    def _delete(self, request: DeleteSchedule) -> None:
        schedule = self.get(request.name)
        _require_by_hand(schedule)
        self._change(schedule.name, None)
        self._defined.add(schedule.name)

    def _run(self, request: RunSchedule) -> Task:
        return self._maker.make_by_hand(self.get(request.name), request.task_id)

    def _from_now(self, schedule: Schedule) -> float | None:
        # If the wall clock has been set back, its times have been done up to the last one.
        now = self._clock.wall()
        return after(schedule, now if schedule.last_due is None else max(now, schedule.last_due))

    def foresee(self, request: PutSchedule | PauseSchedule | DeclareSchedules) -> None:
        """Find in the caller's thread, whichever it is, what the verb would have to look for."""
        if isinstance(request, PutSchedule):
            schedules: Sequence[Schedule | None] = [request.schedule]
        elif isinstance(request, DeclareSchedules):
            schedules = request.schedules
        else:
            schedules = [self.table.get(request.name)]
        for schedule in filter(None, schedules):
            with contextlib.suppress(ValueError):
                schedule.recurrence.after(self._clock.wall())

    # -- the time ------------------------------------------------------------------------------

    def fire(self, at_most: int) -> None:
        """Make the tasks of due times that have come: `at_most`, or as many as time allows."""
        if not self.table:
            return
        wall = self._clock.wall()
        if self._waiting and self._clock.elapsed() >= self._retry_at:
            self._try_again()
        enough = time.thread_time() + FIRING_SECONDS
        while at_most > 0 and time.thread_time() < enough:
            name = self._due.first_due(wall)
            if name is None:
                break
            at_most -= 1
            schedule = self.get(name)
            due = schedule.next_due
            assert due is not None, "what is in the queue is due some time"
            if self.missed.has(schedule, due, wall):
                first = self.missed.first_made(schedule, due, wall)
                if first != due:
                    self._change(name, replace(schedule, next_due=first))
            else:
                self._fire(schedule, due, wall)

    def hold(self) -> None:
        """No tasks can be made now: what is due waits, and is not missed."""
        wall = self._clock.wall()
        for schedule in self.table:
            due = schedule.next_due
            if due is not None and due <= wall and not self.missed.has(schedule, due, wall):
                self.missed.hold(schedule.name, wall)

    def _fire(self, schedule: Schedule, due: float, wall: float) -> None:
        name = schedule.name
        try:
            task_id = self._maker.make_scheduled(schedule, due, late=is_late(due, wall))
        except Unavailable as error:
            if self.missed.hold(name, wall):
                log.warning(
                    "no room for a scheduled task; it is made when there is",
                    schedule=name,
                    error=str(error),
                )
            self._waiting.add(name)
            self._due.discard(name)
            self._retry_at = self._clock.elapsed() + RETRY_SECONDS
            return
        moved = replace(schedule, next_due=after(schedule, due))
        if task_id is None:
            self._change(name, replace(moved, last_skipped=due))
        else:
            self._change(name, replace(moved, last_due=due, last_task_id=task_id))

    def _try_again(self) -> None:
        for name in self._waiting:
            schedule = self.table.get(name)
            if schedule is not None and schedule.next_due is not None:
                self._due.push(name, schedule.next_due)
        self._waiting.clear()

    # -- changes -------------------------------------------------------------------------------

    def define(self, schedule: Schedule) -> None:
        """Have this one in the place of the one of its name."""
        self._change(schedule.name, schedule)
        self._defined.add(schedule.name)

    def _change(self, name: str, schedule: Schedule | None) -> None:
        self._before.setdefault(name, self.table.get(name))
        self._set(name, schedule)

    def _set(self, name: str, schedule: Schedule | None) -> None:
        self._due.discard(name)
        self._waiting.discard(name)
        self.table.put(name, schedule)
        if schedule is not None and schedule.next_due is not None:
            self._due.push(name, schedule.next_due)

    def load(self, schedule: Schedule) -> None:
        """Take in a schedule that is in the journal already."""
        self._set(schedule.name, schedule)

    @property
    def has_changed(self) -> bool:
        """True if the group at work has changed anything."""
        return bool(self._before)

    def definitions(self) -> dict[str, Schedule | None]:
        """Those the group at work has put, paused or resumed, and None for the deleted ones."""
        return {name: self.table.get(name) for name in self._defined}

    def moved(self) -> list[Schedule]:
        """Those the group at work has changed in any way, and not deleted."""
        schedules = map(self.table.get, self._before)
        return [schedule for schedule in schedules if schedule is not None]

    def commit(self) -> None:
        """The group is durable."""
        if not self._before:
            return
        for name in self._before:
            schedule = self.table.get(name)
            self.missed.commit(name, None if schedule is None else schedule.next_due)
        self._forget_changes()

    def undo(self) -> None:
        """The group could not be written: be as before it."""
        for name, schedule in self._before.items():
            self._set(name, schedule)
            self.missed.undo(name)
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._before.clear()
        self._defined.clear()


def _require_by_hand(schedule: Schedule | None) -> None:
    """Raise `ScheduleDeclared` if a task module declares this one."""
    if schedule is not None and schedule.module is not None and not schedule.gone:
        raise ScheduleDeclared(schedule.name, schedule.module)
