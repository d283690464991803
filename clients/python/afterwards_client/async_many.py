"""Lists, counts and bulk verbs of the client with an event loop: `many`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Unpack

from afterwards_client import bulk, listing
from afterwards_client.async_sender import AsyncSender
from afterwards_client.bulk import BulkCancel, BulkDelete, BulkRetry, BulkRun
from afterwards_client.listing import Page, TaskCount
from afterwards_client.selection import Conditions
from afterwards_client.tasks import Task, TaskSummary


class AsyncManyTasks(AsyncSender):
    """The verbs for many tasks, as `ManyTasks` has and describes them."""

    async def list(
        self,
        *,
        order: str | None = None,
        limit: int | None = None,
        **conditions: Unpack[Conditions],
    ) -> AsyncIterator[Task]:
        """Tasks that meet the conditions, up to `limit`; fetched page by page as they are taken.

        Args:
            order: `created`, the newest first, unless another is given; `due`, unfinished ones, the
                soonest due first; `finished`, finished ones, the last finished first.
        """
        found = listing.whole(conditions, order, limit, self._retries)
        while not found.is_over:
            for one in await self._run(found.next_page()):
                yield one

    async def summaries(
        self,
        *,
        order: str | None = None,
        limit: int | None = None,
        **conditions: Unpack[Conditions],
    ) -> AsyncIterator[TaskSummary]:
        """The same as `list` has, without payloads and results."""
        found = listing.summed_up(conditions, order, limit, self._retries)
        while not found.is_over:
            for one in await self._run(found.next_page()):
                yield one

    async def page(
        self,
        *,
        order: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> Page:
        """One page of a list, with the cursor of the next one and how far a scan came.

        Args:
            limit: how many at most, up to 500. A page may have fewer, or none, and be followed by
                others all the same.
            cursor: the `next` of the page before.
        """
        return await self._perform(listing.page(conditions, order, limit, cursor))

    async def count(self, **conditions: Unpack[Conditions]) -> TaskCount:
        """The number of tasks that meet the conditions; exact up to 10,000 where an index knows."""
        return await self._perform(listing.count(conditions))

    async def retry_many(
        self,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        payload: Mapping[str, Any] | None = None,
        new_type: str | None = None,
        dry_run: bool = False,
        **conditions: Unpack[Conditions],
    ) -> BulkRetry:
        """Have all failed tasks run again that fit; cancelled ones if `status` names them.

        Args:
            payload: takes the place of the payload of each.
            new_type: the task type they move to. Those whose payload it does not take are skipped.
            dry_run: change nothing, count only; `payload` and `new_type` are not looked at.

        Raises:
            ConnectionFailed, Unavailable: some may have been retried all the same.
        """
        flow = bulk.carry_out(
            BulkRetry,
            conditions,
            self._retries,
            ids=ids,
            limit=limit,
            dry_run=dry_run,
            payload=payload,
            new_type=new_type,
        )
        return await self._run(flow)

    async def cancel_many(
        self,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        dry_run: bool = False,
        **conditions: Unpack[Conditions],
    ) -> BulkCancel:
        """Cancel all unfinished tasks that fit.

        Those that run are asked to stop, and their end is not waited for.

        Args:
            dry_run: change nothing, count only.

        Raises:
            ConnectionFailed, Unavailable: some may have been cancelled all the same.
        """
        flow = bulk.carry_out(
            BulkCancel, conditions, self._retries, ids=ids, limit=limit, dry_run=dry_run
        )
        return await self._run(flow)

    async def run_many(
        self,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        dry_run: bool = False,
        **conditions: Unpack[Conditions],
    ) -> BulkRun:
        """Make all scheduled tasks due that fit, also those that wait for another attempt.

        Args:
            dry_run: change nothing, count only.

        Raises:
            ConnectionFailed, Unavailable: some may be due all the same.
        """
        flow = bulk.carry_out(
            BulkRun, conditions, self._retries, ids=ids, limit=limit, dry_run=dry_run
        )
        return await self._run(flow)

    async def delete_many(
        self,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        dry_run: bool = False,
        **conditions: Unpack[Conditions],
    ) -> BulkDelete:
        """Delete all finished tasks that fit. They cannot be brought back.

        Args:
            dry_run: change nothing, count only.

        Raises:
            Invalid: neither ids nor a condition are given.
            ConnectionFailed, Unavailable: some may have been deleted all the same.
        """
        flow = bulk.carry_out(
            BulkDelete, conditions, self._retries, ids=ids, limit=limit, dry_run=dry_run
        )
        return await self._run(flow)
