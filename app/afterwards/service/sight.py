"""The sight of one key: the tasks within its reach, and the parts of them that it may see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from afterwards.access.key import Key
from afterwards.access.principal import Principal
from afterwards.errors import (
    NotAllowed,
    ScheduleNotFound,
    TaskDeleted,
    TaskNotFound,
    UniqueKeyTaken,
)
from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import (
    Details,
    ErrorPage,
    Event,
    Existing,
    KeyWait,
    Page,
    SchedulePage,
    Statistics,
)
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import Get, GetSchedule
from afterwards.schedules.schedule import Schedule
from afterwards.service import hidden
from afterwards.service.reach import Reach

Ask = Callable[[Any], Awaitable[Any]]
"""Has a request carried out."""


class Sight:
    """The tasks that one key reaches, and the parts of them that it sees.

    Args:
        own_only: as `Reach`.
    """

    __slots__ = ("_sees", "reach")

    def __init__(self, principal: Principal, *, own_only: bool = False) -> None:
        self.reach: Final = Reach(principal, own_only=own_only)
        self._sees: Final = principal.sees_payloads

    @property
    def is_all(self) -> bool:
        """True if everything is within sight."""
        return self._sees and self.reach.is_all

    @property
    def key(self) -> Hashable:
        """Equal for keys that see the same of the events of all tasks."""
        return self._sees, self.reach.types

    # -- reach ---------------------------------------------------------------------------------

    async def task(self, ask: Ask, task_id: str) -> Task:
        """A task within reach, whole."""
        try:
            task: Task = await ask(Get(task_id))
        except TaskDeleted:
            raise self.gone(task_id) from None
        return self.found(task)

    def gone(self, task_id: str) -> TaskNotFound:
        """The error of a task that is deleted. It may have been beyond reach."""
        return TaskDeleted(task_id) if self.reach.is_all_tasks else TaskNotFound(task_id)

    def found(self, task: Task) -> Task:
        """The same task. Raises if it is beyond reach."""
        if not self.reach.has(task):
            raise TaskNotFound(task.id)
        if not self.reach.owns(task):
            raise self.reach.beyond(task)
        return task

    async def taken(self, ask: Ask, error: UniqueKeyTaken) -> UniqueKeyTaken:
        """The error of a unique key; it does not name a task that is beyond reach."""
        if error.task_id is None or self.reach.is_all_tasks:
            return error
        try:
            await self.task(ask, error.task_id)
        except (NotAllowed, TaskNotFound):
            return UniqueKeyTaken(error.key, None)
        return error

    async def schedule(self, ask: Ask, name: str) -> Schedule:
        """A schedule whose tasks are within reach, whole."""
        schedule: Schedule = await ask(GetSchedule(name))
        if not self.reach.has(schedule.pattern):
            raise ScheduleNotFound(name)
        return schedule

    def statistics(self, found: Statistics) -> Statistics:
        """Statistics with the numbers of tasks of the types within reach; of the service, all."""
        reach = self.reach
        if reach.types is None:
            return found
        counts = {cell: n for cell, n in found.snapshot.counts.items() if reach.has_type(cell[1])}
        return found._replace(
            snapshot=replace(found.snapshot, counts=counts),
            paused_types=[name for name in found.paused_types if reach.has_type(name)],
        )

    def has_type(self, name: str) -> bool:
        """As `Reach.has_type`."""
        return self.reach.has_type(name)

    def require_no_more(self, key: Key) -> None:
        """Raise `NotAllowed` if a key that is made sees more than the one that makes it."""
        if key.payloads and not self._sees:
            raise NotAllowed("Only a key with `payloads` makes, or rotates, a key with `payloads`")

    def require_errors(self, what: str) -> None:
        """Raise `NotAllowed` unless the errors of tasks may be seen.

        Args:
            what: tells of them, such as "A webhook is told".
        """
        if not self._sees:
            raise NotAllowed(f"{what} of errors, which needs a key with `payloads`")

    # -- what may be seen ----------------------------------------------------------------------

    def shown(self, answer: Any) -> Any:
        """An answer without what may not be seen."""
        hide = None if self._sees else _HIDDEN.get(type(answer))
        return answer if hide is None else hide(answer)

    def wait(self, wait: KeyWait) -> KeyWait:
        """The wait of a task; attempts that hold its key may be beyond the labels of this one."""
        return wait._replace(holders=None) if self.reach.has_labels else wait

    def searched(self, wanted: Filter) -> Filter | None:
        """As `Reach.narrowed`. Raises `NotAllowed` if payloads are searched that cannot be seen."""
        if wanted.search is not None and not self._sees:
            raise NotAllowed("A search looks into payloads, which needs a key with `payloads`")
        return self.reach.narrowed(wanted)

    def event(self, event: Event) -> Event | None:
        """An event, as far as it may be seen; None: it may not."""
        if not self.reach.has_type(event.type):
            return None
        return event if self._sees else hidden.hidden_event(event)


_HIDDEN: Final = MappingProxyType[type, Callable[[Any], Any]](
    {
        Task: hidden.hidden_task,
        Existing: hidden.hidden_existing,
        Details: hidden.hidden_details,
        Page: hidden.hidden_page,
        Schedule: hidden.hidden_schedule,
        SchedulePage: hidden.hidden_schedules,
        ErrorPage: hidden.hidden_errors,
    }
)
