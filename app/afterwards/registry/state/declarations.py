"""The schedules that task modules declare: put in place as the latest task code has them (rule 32).

A schedule that was put by hand becomes its module's when a module declares one of its name. One
that a module declares no longer rests: its tasks, its times and its pause are kept, so that code
that was rolled back finds it as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from afterwards.errors import TooManySchedules
from afterwards.logs import get_logger
from afterwards.registry.protocol.requests import DeclareSchedules
from afterwards.registry.state.acceptance import Room
from afterwards.registry.state.ledger import Ledger
from afterwards.registry.state.schedule_table import ScheduleTable
from afterwards.registry.state.schedules import MAX_SCHEDULES, ScheduleBook
from afterwards.schedules.schedule import Schedule

log = get_logger(__name__)

_NAMES_LOGGED: Final = 20


class Declarations:
    """The verb of workers for the schedules of their task modules.

    Args:
        book: has the schedules.
        table: where they are.
        room: what they have to fit into.
        ledger: knows the latest generation of task code.
    """

    def __init__(
        self, book: ScheduleBook, table: ScheduleTable, room: Room, ledger: Ledger
    ) -> None:
        self._book = book
        self._schedules = table
        self._room = room
        self._ledger = ledger
        self.told_of = 0
        """The latest generation whose schedules were logged."""
        self._news: list[_News] = []
        """The news of the group at work, told once it is durable."""
        self.verbs: Mapping[type, Callable[[Any], Any]] = {DeclareSchedules: self._declare}

    def _declare(self, request: DeclareSchedules) -> None:
        if request.generation < self._ledger.generation:
            return  # Its worker is behind; one that is not declares, too.
        given = {one.name: one for one in request.schedules}
        former = {name: self._schedules.get(name) for name in given}
        self._require_room(given, former)
        news = _News(request.generation)
        for name, one in given.items():
            self._put(one, former[name], news)
        for schedule in list(self._schedules):
            if schedule.module is None or schedule.name in given:
                continue
            news.gone.append(schedule.name)
            if not schedule.gone:
                self._book.define(replace(schedule, gone=True, next_due=None))
        self._news.append(news)

    def _require_room(
        self, given: Mapping[str, Schedule], former: Mapping[str, Schedule | None]
    ) -> None:
        known = [one for one in former.values() if one is not None]
        if len(self._schedules) + len(given) - len(known) > MAX_SCHEDULES:
            raise TooManySchedules(MAX_SCHEDULES)
        self._room.require_for_schedule(
            sum(len(one.pattern.payload) for one in given.values()),
            sum(len(one.pattern.payload) for one in known),
        )

    def _put(self, given: Schedule, old: Schedule | None, news: _News) -> None:
        # Whether it rests is said by hand alone.
        new = replace(given, paused=old is not None and old.paused)
        put = self._book.succeeding(new, old)
        if put == old:
            return
        self._book.define(put)
        if old is None:
            news.made.append(put.name)
        elif old.module is None:
            news.taken_over.append(put.name)
        else:
            news.changed.append(put.name)

    def commit(self) -> None:
        """The group is durable."""
        for news in self._news:
            news.tell(gone_too=news.generation > self.told_of)
            self.told_of = news.generation
        self._news.clear()

    def undo(self) -> None:
        """The group could not be written."""
        self._news.clear()


class _News:
    """The names of schedules that a declaration has made, changed or let go."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.made: list[str] = []
        self.changed: list[str] = []
        self.taken_over: list[str] = []
        self.gone: list[str] = []

    def tell(self, *, gone_too: bool) -> None:
        if self.made or self.changed:
            log.info(
                "schedules of task modules are put in place",
                **_named(made=self.made, changed=self.changed),
            )
        if self.taken_over:
            log.warning(
                "schedules that were put by hand are declared by task modules now, which replaces "
                "their definitions",
                **_named(schedules=self.taken_over),
            )
        if self.gone and gone_too:
            log.warning(
                "schedules are declared by no task module any more, and make no tasks; delete "
                "them, or declare them again",
                **_named(schedules=self.gone),
            )


def _named(**groups: list[str]) -> dict[str, Any]:
    """The names of each group, as a line of the log can have them; its number if that is large."""
    fields: dict[str, Any] = {}
    for what, names in groups.items():
        if names:
            fields[what] = sorted(names)[:_NAMES_LOGGED]
        if len(names) > _NAMES_LOGGED:
            fields[f"number_{what}"] = len(names)
    return fields
