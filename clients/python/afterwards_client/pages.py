"""Lists that the service gives page by page. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from afterwards_client.calls import Call
from afterwards_client.flows import Flow, perform
from afterwards_client.retries import Retries

T = TypeVar("T")

PAGE_SIZE: Final = 500
"""The largest that the service gives."""


class Listing(Generic[T]):
    """Things page by page: run `next_page` until it `is_over`.

    Args:
        path: where the list is.
        member: the member of a page that has the things.
        of: reads one from JSON.
        limit: how many at most; None: all.
        query: says which, and how they are shown.
    """

    def __init__(
        self,
        path: str,
        member: str,
        of: Callable[[Any], T],
        *,
        limit: int | None,
        retries: Retries,
        query: Mapping[str, Any],
    ) -> None:
        self.is_over = limit is not None and limit <= 0
        self._path = path
        self._member = member
        self._of: Callable[[Any], T] = of
        self._query = query
        self._left = limit
        self._retries = retries
        self._cursor: str | None = None

    def next_page(self) -> Flow[Sequence[T]]:
        """Fetch a page; one that is empty need not be the last."""
        size = PAGE_SIZE if self._left is None else min(self._left, PAGE_SIZE)
        params = page_query(self._query, size, self._cursor)
        call = Call("GET", self._path, self._read, params=params)
        found, self._cursor = yield from perform(call, self._retries)
        if self._left is not None:
            self._left -= len(found)
        self.is_over = self._cursor is None or (self._left is not None and self._left <= 0)
        return found

    def _read(self, document: Any) -> tuple[Sequence[T], str | None]:
        return [self._of(one) for one in document[self._member]], document["next"]


def page_query(query: Mapping[str, Any], limit: int, cursor: str | None) -> dict[str, Any]:
    """The query of a page."""
    return {**query, "limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
