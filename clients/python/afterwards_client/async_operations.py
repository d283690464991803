"""Verbs for the service as a whole, of the client with an event loop: `operations`, awaited."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from afterwards_client import activity, error_groups, statistics, task_types, workers
from afterwards_client.activity import ActivityEntry
from afterwards_client.async_sender import AsyncSender
from afterwards_client.error_groups import ErrorGroup, ErrorGroups
from afterwards_client.live_statistics import LiveStatistics, StatisticsSubscription
from afterwards_client.statistics import Series, Statistics
from afterwards_client.task_types import TaskType
from afterwards_client.workers import Workers


class AsyncOperations(AsyncSender):
    """Task types and their pauses, and what the service tells of itself."""

    async def task_types(self) -> Sequence[TaskType]:
        """All task types, with their limits and their numbers of tasks."""
        return await self._perform(task_types.listing())

    async def task_type(self, name: str) -> TaskType:
        """One task type."""
        return await self._perform(task_types.get(name))

    async def pause_type(self, name: str) -> TaskType:
        """Have no attempts of a type start until it is resumed, beyond a restart too.

        Its tasks are accepted, and wait; its running attempts go on.
        """
        return await self._perform(task_types.pause(name))

    async def resume_type(self, name: str) -> TaskType | None:
        """End the pause of a type. None: the service no longer has it, and its tasks fail."""
        return await self._perform(task_types.resume(name))

    async def stats(self) -> Statistics:
        """The service as it is now, whichever worker answers."""
        return await self._perform(statistics.now())

    def stream_stats(self) -> AsyncGenerator[LiveStatistics, None]:
        """The service as it is, at once and then once a second, without end.

        A connection that breaks is made again. While the registry process is away there is nothing.
        """
        return self._follow(StatisticsSubscription(self._retries))

    async def series(
        self,
        range: str | None = None,  # noqa: A002 - the API's word
        *,
        type: str | None = None,  # noqa: A002 - the same
    ) -> Series:
        """The numbers of the past, of one task type or of all.

        Args:
            range: `1h` (also without it), in buckets of ten seconds; `24h`, of a minute; `30d`, of
                an hour.
        """
        return await self._perform(statistics.series(range=range, type=type))

    async def workers(self) -> Workers:
        """The processes of the service: workers, their hosts, and the registry process."""
        return await self._perform(workers.listing())

    async def errors(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the API's word
        order: str | None = None,
        limit: int | None = None,
    ) -> ErrorGroups:
        """The tasks that are failed now, grouped by type and error.

        Args:
            order: `count`, the largest first, unless it is `latest`, the one seen last first.
            limit: how many groups at most, up to 1,000.
        """
        return await self._perform(error_groups.listing(type=type, order=order, limit=limit))

    async def error(self, error_id: str) -> ErrorGroup:
        """One group of errors.

        Raises:
            NotFound: there is none, or it has no tasks any more.
        """
        return await self._perform(error_groups.get(error_id))

    async def activity(self, *, limit: int | None = None) -> AsyncIterator[ActivityEntry]:
        """The log of what was done by hand, newest first, up to `limit`; fetched page by page."""
        found = activity.listing(limit, self._retries)
        while not found.is_over:
            for one in await self._run(found.next_page()):
                yield one
