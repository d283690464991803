"""Lists and counts of tasks, and the groups of those that have failed."""

from __future__ import annotations

from typing import Any

from afterwards.registry.protocol.answers import Counted, ErrorPage, Page
from afterwards.registry.protocol.filters import Filter, Order, PageEnd
from afterwards.registry.protocol.requests import Count, Errors, Find
from afterwards.service.narrowed import Asks
from afterwards.service.sight import Ask


class Lists:
    """The ways to look at many tasks. Every method may raise `errors.Unavailable`.

    Args:
        aside: asks for lists and counts; None: they go with everything else.
    """

    def __init__(self, client: Asks, aside: Ask | None = None) -> None:
        self._client = client
        self._aside = aside

    async def find(
        self,
        wanted: Filter,
        *,
        order: Order = Order.CREATED,
        limit: int = 100,
        before: PageEnd | None = None,
        summary: bool = False,
    ) -> Page:
        """A page of the tasks that meet all conditions.

        Args:
            limit: at most so many; a page of large tasks has fewer.
            before: the `Page.next` of the page before.
            summary: without results, and with the beginning of each payload only.
        """
        page: Page = await self.ask(Find(wanted, limit, before, order, summary))
        return page

    async def count(self, wanted: Filter, most: int) -> Counted:
        """The number of tasks that meet all conditions, counted up to `most`."""
        counted: Counted = await self.ask(Count(wanted, most))
        return counted

    async def errors(
        self,
        *,
        type_name: str | None = None,
        error: str | None = None,
        latest_first: bool = False,
        limit: int = 1_000,
    ) -> ErrorPage:
        """Groups of the tasks that are failed now.

        Args:
            type_name: of tasks of this type only.
            error: the group of this id only.
            latest_first: in the order in which they were seen last, and not of their size.
            limit: at most so many.
        """
        page: ErrorPage = await self._client.call(Errors(type_name, error, latest_first, limit))
        return page

    async def ask(self, query: Find | Count) -> Any:
        """The answer to a query. It is asked for aside: others should not wait for it."""
        ask = self._client.call if self._aside is None else self._aside
        return await ask(query)
