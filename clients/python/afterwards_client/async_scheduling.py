"""Verbs for schedules, of the client with an event loop: `scheduling`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator

from afterwards_client import schedules
from afterwards_client.async_sender import AsyncSender
from afterwards_client.schedules import NewSchedule, Schedule
from afterwards_client.tasks import Task


class AsyncScheduling(AsyncSender):
    """The verbs for schedules, each of which has a name."""

    async def schedules(
        self, *, payloads: bool = False, results: bool = False, limit: int | None = None
    ) -> AsyncIterator[Schedule]:
        """All schedules by name, up to `limit`; fetched page by page as they are taken.

        Args:
            payloads: with the payload of each, which is None without it.
            results: with what has become of its latest tasks.
        """
        found = schedules.listing(limit, self._retries, payloads=payloads, results=results)
        while not found.is_over:
            for one in await self._run(found.next_page()):
                yield one

    async def schedule(self, name: str) -> Schedule:
        """The schedule as it is now, with its next due times."""
        return await self._perform(schedules.get(name))

    async def put_schedule(self, name: str, new: NewSchedule) -> Schedule:
        """Create a schedule, or replace the one of this name.

        One that is replaced keeps its due times if the recurrence stays the same.

        Raises:
            Conflict: a task module declares it, or there are as many schedules as there may be.
        """
        return await self._perform(schedules.put(name, new))

    async def delete_schedule(self, name: str) -> None:
        """Delete a schedule. Tasks that it has made stay.

        It is sent again when there was no answer: one that is not there then is deleted.

        Raises:
            Conflict: a task module declares it.
        """
        await self._perform(schedules.delete(name))

    async def pause_schedule(self, name: str) -> Schedule:
        """Have a schedule make no tasks until it is resumed, nor make up for them."""
        return await self._perform(schedules.pause(name))

    async def resume_schedule(self, name: str) -> Schedule:
        """Have a schedule make tasks again, from its next due time on."""
        return await self._perform(schedules.resume(name))

    async def run_schedule(self, name: str) -> Task:
        """Submit the task of a schedule now. Its due times stay, and it may be paused.

        Raises:
            ConnectionFailed, Unavailable: it may have been submitted all the same. It is not sent
                again, because that would be another task.
        """
        return await self._perform(schedules.run(name))
