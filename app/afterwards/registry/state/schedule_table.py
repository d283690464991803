"""Schedules by name: in order, in pages, with the bytes they hold."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import replace

from afterwards.registry.protocol.answers import SchedulePage
from afterwards.registry.protocol.base import PAGE_BYTES
from afterwards.registry.protocol.requests import Schedules
from afterwards.schedules.schedule import Schedule


class ScheduleTable:
    """The schedules there are."""

    def __init__(self) -> None:
        self._schedules: dict[str, Schedule] = {}
        self._names: list[str] = []
        """In order."""
        self.payload_bytes = 0
        """The size of all payloads together."""
        self._elsewhere = 0

    def sum_up(self, number: int, payload_bytes: int) -> None:
        """Know how many there are, and the size of their payloads, where only some are here."""
        self._elsewhere = number - len(self._names)
        self.payload_bytes = payload_bytes

    def __len__(self) -> int:
        return len(self._names) + self._elsewhere

    def __iter__(self) -> Iterator[Schedule]:
        return iter(self._schedules.values())

    def get(self, name: str) -> Schedule | None:
        """The schedule of this name; None: there is none."""
        return self._schedules.get(name)

    def put(self, name: str, schedule: Schedule | None) -> None:
        """Put a schedule in the place of the one of this name, if there is one; None: remove it."""
        old = self._schedules.pop(name, None)
        if old is not None:
            self.payload_bytes -= len(old.pattern.payload)
        if schedule is not None:
            self._schedules[name] = schedule
            self.payload_bytes += len(schedule.pattern.payload)
        if old is None and schedule is not None:
            insort(self._names, name)
        elif old is not None and schedule is None:
            del self._names[bisect_left(self._names, name)]

    def page(self, query: Schedules) -> SchedulePage:
        """Schedules by name, as many as were asked for and fit on a page."""
        start = 0 if query.after is None else bisect_right(self._names, query.after)
        page: list[Schedule] = []
        size = 0
        for name in self._names[start : start + query.limit]:
            schedule = self._schedules[name]
            if query.payloads:
                size += len(schedule.pattern.payload)
                if page and size > PAGE_BYTES:
                    break
            else:
                schedule = replace(schedule, pattern=replace(schedule.pattern, payload=b""))
            page.append(schedule)
        more = start + len(page) < len(self._names)
        return SchedulePage(page, page[-1].name if more and page else None)
