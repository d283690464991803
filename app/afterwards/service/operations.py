"""Operations on what starts tasks: paused task types, and schedules."""

from __future__ import annotations

from typing import Final

from afterwards.lifecycle import Task
from afterwards.registry.protocol.activity import ActivityPage, By, Outcome, cut
from afterwards.registry.protocol.answers import SchedulePage, SeriesRows, Statistics, WorkerList
from afterwards.registry.protocol.requests import (
    Activity,
    DeclareSchedules,
    DeleteSchedule,
    GetSchedule,
    ListWorkers,
    Note,
    Pause,
    PauseSchedule,
    PutSchedule,
    Resume,
    RunSchedule,
    Schedules,
    Series,
    Stats,
)
from afterwards.schedules.schedule import Schedule
from afterwards.service.intake import Intake, TaskRequest
from afterwards.service.narrowed import Asks
from afterwards.service.series_columns import columns
from afterwards.system.own_threads import NoThread, OwnThreads
from afterwards.task_ids import new_id

_THREAD: Final = OwnThreads("series", 1)


class Operations:
    """The verbs of an operator of the service. Every method may raise `errors.Unavailable`.

    `by` is who asks: it is remembered together with what was done.
    """

    def __init__(self, client: Asks, intake: Intake) -> None:
        self._client = client
        self._intake = intake

    async def pause(self, type_name: str, by: By | None = None) -> None:
        """Start no attempts at tasks of this type until `resume`."""
        await self._client.call(Pause(type_name, by))

    async def resume(self, type_name: str, by: By | None = None) -> None:
        """End a pause."""
        await self._client.call(Resume(type_name, by))

    def pattern(self, one: TaskRequest) -> Task:
        """The pattern of the tasks of a schedule.

        Raises:
            UnknownTaskType: there is no such type.
        """
        return self._intake.pattern(one)

    async def put_schedule(self, schedule: Schedule, by: By | None = None) -> bool:
        """Make a schedule, or replace the one of this name.

        Returns:
            Whether there was none before.

        Raises:
            ScheduleDeclared: a task module declares it.
            TooManySchedules: the limit is reached.
            TooManyUnfinished: there is no room for its payload.
        """
        new: bool = await self._client.call(PutSchedule(schedule, by))
        return new

    async def declare_schedules(self, request: DeclareSchedules) -> None:
        """Put the schedules of the task modules in place.

        Raises:
            TooManySchedules: the limit is reached.
            TooManyUnfinished: there is no room for their payloads.
        """
        await self._client.call(request)

    async def schedule(self, name: str) -> Schedule:
        """A schedule. Raises `ScheduleNotFound`."""
        schedule: Schedule = await self._client.call(GetSchedule(name))
        return schedule

    async def schedules(
        self,
        *,
        limit: int,
        after: str | None = None,
        payloads: bool = False,
        results: bool = False,
    ) -> SchedulePage:
        """A page of schedules, by name.

        Args:
            limit: how many at most; there are fewer if they are large.
            after: the `next` of the page before.
            payloads: whether their patterns have payloads; otherwise those are empty.
            results: whether to tell the latest tasks of each.
        """
        page: SchedulePage = await self._client.call(Schedules(limit, after, payloads, results))
        return page

    async def pause_schedule(self, name: str, *, paused: bool, by: By | None = None) -> Schedule:
        """Let a schedule rest, or end its rest. Raises `ScheduleNotFound`."""
        schedule: Schedule = await self._client.call(PauseSchedule(name, paused, by))
        return schedule

    async def delete_schedule(self, name: str, by: By | None = None) -> None:
        """Remove a schedule; its tasks stay. Raises `ScheduleNotFound`, `ScheduleDeclared`."""
        await self._client.call(DeleteSchedule(name, by))

    async def series(self, range_name: str, type_name: str | None = None) -> bytes:
        """Series of the past, as `afterwards.service.series_columns` tells them.

        Args:
            range_name: a key of `afterwards.buckets.STEPS`.
            type_name: of this type only.
        """
        found: SeriesRows = await self._client.call(Series(range_name, type_name))
        try:
            return await _THREAD.run(columns, range_name, type_name, found)
        except NoThread:
            return columns(range_name, type_name, found)

    async def run_schedule(self, name: str, by: By | None = None) -> Task:
        """Make one task of a schedule now, and give it.

        Raises:
            ScheduleNotFound: there is none.
            TooManyUnfinished: there is no room for the task.
        """
        task: Task = await self._client.call(RunSchedule(name, new_id(), by))
        return task

    async def activity(self, *, limit: int, before: int | None = None) -> ActivityPage:
        """Entries of the log of activity, newest first.

        Args:
            limit: how many entries at most.
            before: the `next` of the page before.
        """
        page: ActivityPage = await self._client.call(Activity(limit, before))
        return page

    async def note_refusal(self, by: By, verb: str, object_: str, name: str, reason: str) -> None:
        """Have an entry of a verb that was refused before the registry was asked."""
        await self._client.call(Note(by, verb, object_, cut(name), Outcome.REFUSED, reason))

    async def workers(self) -> WorkerList:
        """The processes that the service runs tasks with."""
        workers: WorkerList = await self._client.call(ListWorkers())
        return workers

    async def statistics(self) -> Statistics:
        """The service on one page."""
        statistics: Statistics = await self._client.call(Stats())
        return statistics
