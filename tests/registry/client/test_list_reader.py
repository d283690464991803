"""Lists and counts go over connections of their own, and survive the end of a registry."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from afterwards.errors import AfterwardsError, JournalUnreadable, RegistryUnavailable
from afterwards.registry.client import list_reader
from afterwards.registry.client.list_reader import ListReader
from afterwards.registry.protocol.answers import Reply
from afterwards.registry.protocol.requests import Count, Find, Request

pytestmark = pytest.mark.anyio


class Answering:
    """A registry as one connection knows it."""

    def __init__(self, answer: Any = "a page") -> None:
        self.answer = answer

    def exchange(self, worker: Any, connection: int, requests: Sequence[Request]) -> Reply:
        assert (worker, connection) == (None, 0)
        if isinstance(self.answer, OSError | EOFError):
            raise self.answer
        return Reply([self.answer for _ in requests], [], [])


class Held(Answering):
    """Leaves a request without an answer until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_go = threading.Event(), threading.Event()

    def exchange(self, worker: Any, connection: int, requests: Sequence[Request]) -> Reply:
        self.asked.set()
        assert self.let_go.wait(10)
        return super().exchange(worker, connection, requests)


def connecting(*registries: Answering | OSError) -> Any:
    left = list(registries)

    def connect() -> Any:
        made = left.pop(0)
        if isinstance(made, OSError):
            raise made
        return made

    return connect


async def test_a_connection_is_made_once_and_made_again_when_it_has_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(list_reader, "MOST_THREADS", 1)
    first = Answering()
    asks = ListReader(connecting(first, Answering("another")))

    assert await asks.call(Find()) == "a page"
    assert await asks.call(Count()) == "a page"
    first.answer = EOFError()
    assert await asks.call(Find()) == "another"


@pytest.mark.parametrize(
    ("registries", "expected"),
    [
        ((ConnectionRefusedError(), ConnectionRefusedError()), RegistryUnavailable),
        ((Answering(JournalUnreadable("broken", "j")),), JournalUnreadable),
    ],
)
async def test_what_cannot_be_answered_is_raised(
    registries: Any, expected: type[AfterwardsError]
) -> None:
    with pytest.raises(expected):
        await ListReader(connecting(*registries)).call(Find())


async def test_one_request_that_takes_long_does_not_hold_up_the_next() -> None:
    held = Held()
    asks = ListReader(connecting(held, Answering("at once")))
    slow = asyncio.create_task(asks.call(Find()))
    await asyncio.to_thread(held.asked.wait, 10)

    assert await asks.call(Find()) == "at once"
    held.let_go.set()
    assert await slow == "a page"


async def test_nobody_waits_for_ever_nor_behind_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_reader, "WAIT_SECONDS", 0.0)
    held = Held()
    asks = ListReader(connecting(held, held))
    with pytest.raises(RegistryUnavailable):
        await asks.call(Find())
    monkeypatch.setattr(list_reader, "MOST_WAITING", 0)
    with pytest.raises(RegistryUnavailable):
        await asks.call(Find())
    held.let_go.set()
