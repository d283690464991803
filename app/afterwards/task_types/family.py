"""Other tasks, as an attempt meets them: those that it submits, and those of its group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, Protocol

from pydantic import BaseModel

USUAL_PRIORITY: Final = 4


class Family(NamedTuple):
    """The parts of an attempt's task that its children are made with."""

    retries: int = 0
    """Retries by hand of its task."""
    depth: int = 0
    """The number of ancestors of its task."""
    priority: int = USUAL_PRIORITY
    labels: str | None = None
    """A JSON object."""
    members: int = 0
    """The size of the group that its task follows; 0: it follows none."""


class Order(NamedTuple):
    """The wish of an attempt for a task, not checked yet."""

    type: str
    payload: Mapping[str, Any] | BaseModel
    delay_seconds: float | None = None
    priority: int | None = None
    labels: Mapping[str, str] | None = None
    now: bool = False


class Member(NamedTuple):
    """A task of a group, as it was when it was read."""

    id: str
    type: str
    status: str
    """`success`, `failed` or `cancelled`."""
    result: dict[str, Any] | None = None
    error: str | None = None


class Page(NamedTuple):
    """Some members of a group, in the order of the batch."""

    members: Sequence[Member]
    next: int | None
    """The place to go on after; None: this was the last page."""


class Child:
    """A task that an attempt has submitted.

    Args:
        answer: the answer of the service, which is not here yet; None: nothing is waited for.
        accept: takes the answer; raises what is wrong.
    """

    __slots__ = ("_accept", "_answer", "id", "is_settled", "type")

    def __init__(
        self,
        task_id: str,
        type_name: str,
        answer: Future[bytes] | None = None,
        accept: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self.id = task_id
        """The id of the task."""
        self.type = type_name
        self.is_settled = answer is None
        """False: its answer was not waited for."""
        self._answer = answer
        self._accept = accept

    def __await__(self) -> Generator[Any, None, Child]:
        """Wait until it is accepted, if it was submitted with `now=True`."""
        if self._answer is not None:
            self.is_settled = True
            self._accept((yield from asyncio.wrap_future(self._answer).__await__()))
        return self

    def wait(self, wait_for: Callable[[Future[bytes]], bytes]) -> None:
        """The same in a thread; `wait_for` waits for the answer."""
        if self._answer is not None:
            self.is_settled = True
            self._accept(wait_for(self._answer))

    def __repr__(self) -> str:
        return f"Child(id={self.id!r}, type={self.type!r})"


class Relatives(Protocol):
    """Carries out an attempt's wishes about other tasks."""

    def submit(self, order: Order) -> Child:
        """See `TaskContext.submit`."""

    def ask_for_members(self, after: int) -> Future[bytes]:
        """Ask for a page of the group's members; `page` makes it of the answer."""

    def wait_for(self, answer: Future[bytes]) -> bytes:
        """Wait for the answer, in a thread without an event loop."""

    def page(self, answer: bytes) -> Page:
        """The page that was answered."""


class Group:
    """The tasks that the attempt's task follows: `for member in group`, or `async for`.

    They are read page by page, when it is their turn, and in the order of the batch. Members that
    were deleted meanwhile are left out.
    """

    def __init__(self, group_id: str, size: int, relatives: Relatives) -> None:
        self.id = group_id
        self.size = size
        """The number of tasks that were submitted."""
        self._relatives = relatives

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Member]:
        """The members; in a coroutine, `async for` reads them."""
        after: int | None = 0
        while after is not None:
            asked = self._relatives.ask_for_members(after)
            page = self._relatives.page(self._relatives.wait_for(asked))
            yield from page.members
            after = page.next

    async def __aiter__(self) -> AsyncIterator[Member]:
        """The same for a coroutine."""
        after: int | None = 0
        while after is not None:
            asked = self._relatives.ask_for_members(after)
            page = self._relatives.page(await asyncio.wrap_future(asked))
            for member in page.members:
                yield member
            after = page.next
