"""Verbs for schedules. `async_scheduling` is their twin."""

from __future__ import annotations

from collections.abc import Iterator

from afterwards_client import schedules
from afterwards_client.schedules import NewSchedule, Schedule
from afterwards_client.sender import Sender
from afterwards_client.tasks import Task


class Scheduling(Sender):
    """The verbs for schedules, each of which has a name."""

    def schedules(
        self, *, payloads: bool = False, results: bool = False, limit: int | None = None
    ) -> Iterator[Schedule]:
        """All schedules by name, up to `limit`; fetched page by page as they are taken.

        Args:
            payloads: with the payload of each, which is None without it.
            results: with what has become of its latest tasks.
        """
        found = schedules.listing(limit, self._retries, payloads=payloads, results=results)
        while not found.is_over:
            yield from self._run(found.next_page())

    def schedule(self, name: str) -> Schedule:
        """The schedule as it is now, with its next due times."""
        return self._perform(schedules.get(name))

    def put_schedule(self, name: str, new: NewSchedule) -> Schedule:
        """Create a schedule, or replace the one of this name.

        One that is replaced keeps its due times if the recurrence stays the same.

        Raises:
            Conflict: a task module declares it, or there are as many schedules as there may be.
        """
        return self._perform(schedules.put(name, new))

    def delete_schedule(self, name: str) -> None:
        """Delete a schedule. Tasks that it has made stay.

        It is sent again when there was no answer: one that is not there then is deleted.

        Raises:
            Conflict: a task module declares it.
        """
        self._perform(schedules.delete(name))

    def pause_schedule(self, name: str) -> Schedule:
        """Have a schedule make no tasks until it is resumed, nor make up for them."""
        return self._perform(schedules.pause(name))

    def resume_schedule(self, name: str) -> Schedule:
        """Have a schedule make tasks again, from its next due time on."""
        return self._perform(schedules.resume(name))

    def run_schedule(self, name: str) -> Task:
        """Submit the task of a schedule now. Its due times stay, and it may be paused.

        Raises:
            ConnectionFailed, Unavailable: it may have been submitted all the same. It is not sent
                again, because that would be another task.
        """
        return self._perform(schedules.run(name))
