"""Rounds: many are woken, and other things happen in between."""

from __future__ import annotations

import asyncio

import pytest

from afterwards.events.listeners import FeedListener
from afterwards.events.rounds import AT_ONCE, Rounds
from afterwards.events.streams import Portion
from tests.events.conftest import Stage, until, within
from tests.registry.peers import make_task

pytestmark = pytest.mark.anyio


class Noted(FeedListener):
    def __init__(self, woken: list[Noted]) -> None:
        super().__init__()
        self._noted = woken

    def wake(self) -> None:
        self._noted.append(self)
        super().wake()


async def test_a_round_wakes_each_once_a_few_at_a_time() -> None:
    begun: list[int] = []
    woken: list[Noted] = []
    rounds = Rounds(lambda: begun.append(len(woken)))
    for _ in range(3 * AT_ONCE):
        rounds.add(Noted(woken))

    rounds.start()
    rounds.start()
    rounds.start()

    assert len(woken) == AT_ONCE, "at once"
    await until(lambda: len(woken) == 6 * AT_ONCE, "both rounds are over")
    await until(lambda: not rounds._under_way, "nothing under way")
    assert begun == [0, 3 * AT_ONCE], "what came during a round was one round more"
    assert len(set(woken[: 3 * AT_ONCE])) == len(set(woken[3 * AT_ONCE :])) == 3 * AT_ONCE


async def test_a_lone_listener_is_woken_at_once() -> None:
    rounds = Rounds(lambda: None)
    listener = FeedListener()
    rounds.add(listener)
    for _ in range(3):
        await until(lambda: not rounds._under_way, "idle")
        rounds.start()
        assert await listener.sleep(0)


async def test_all_are_told_in_the_same_portions_however_many_events_come(stage: Stage) -> None:
    """So that a portion is rendered once."""
    ready: list[int] = []

    async def listen() -> tuple[tuple[int, int], ...]:
        told: list[tuple[int, int]] = []
        async with stage.service.all_streams(None) as stream:
            ready.append(1)
            start = stream.position.sequence
            while stream.position.sequence < start + 300:
                item = await within(stream.next(3_600))
                assert isinstance(item, Portion)
                told.append((item.start.sequence, item.end.sequence))
        return tuple(told)

    listening = [asyncio.create_task(listen()) for _ in range(4 * AT_ONCE)]
    await until(lambda: len(ready) == len(listening), "all listen")

    def run() -> None:
        for _ in range(100):
            stage.peer.succeed(stage.peer.run(make_task()))

    await asyncio.to_thread(run)
    assert len(set(await within(asyncio.gather(*listening)))) == 1


async def test_what_is_shared_is_bounded(stage: Stage) -> None:
    for number in range(1_000):
        assert stage.hub.shared(number, lambda: b"x") == b"x"
    assert len(stage.hub._shared) < 100
