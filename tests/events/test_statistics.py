"""The service once a second: asked for once, only while there are listeners, never in the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from afterwards.errors import Draining, RegistryUnavailable
from afterwards.events import statistics
from afterwards.events.statistics import StatisticsFeed, StatisticsFrame, StatisticsStream
from afterwards.registry.protocol.requests import Request, Stats
from tests.events.conftest import Stage, until, within

pytestmark = pytest.mark.anyio

FRAMES = 0.01


class Registry:
    """Answers, unless it is away."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    async def ask(self, request: Request) -> Any:
        assert request == Stats()
        self.asked += 1
        if self.away:
            raise RegistryUnavailable
        return f"statistics {self.asked}"


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def feed(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> StatisticsFeed:
    monkeypatch.setattr(statistics, "FRAME_SECONDS", FRAMES)
    return StatisticsFeed(registry.ask)


async def next_of(stream: StatisticsStream) -> StatisticsFrame:
    frame: StatisticsFrame | None = await within(stream.next(10.0))
    assert frame is not None
    return frame


async def test_the_first_frame_is_there_at_once_and_others_follow(stage: Stage) -> None:
    stage.add()
    async with stage.service.statistics_stream() as stream:
        first = await asyncio.wait_for(stream.next(0.0), 1.0)
        assert first is not None
        assert first.statistics is not None
        assert first.statistics.snapshot.counts["tasks", "note", "pending"] == 1
        stage.add()
        second = await next_of(stream)
        assert second.statistics is not None
        assert second.statistics.snapshot.counts["tasks", "note", "pending"] == 2


async def test_however_many_listen_the_registry_is_asked_once(
    feed: StatisticsFeed, registry: Registry
) -> None:
    rendered: list[StatisticsFrame] = []

    def render(frame: StatisticsFrame) -> bytes:
        rendered.append(frame)
        return b"x"

    async def listen() -> None:
        async with feed.stream() as stream:
            for _ in range(3):
                assert stream.shown(await next_of(stream), render) == b"x"

    await asyncio.gather(*(listen() for _ in range(200)))
    # They are woken in rounds, while further frames come.
    assert registry.asked < 60
    assert len(rendered) <= registry.asked


async def test_nobody_is_asked_while_nobody_listens(
    feed: StatisticsFeed, registry: Registry
) -> None:
    async with feed.stream() as stream:
        await next_of(stream)
        asking = feed._asking
    asked = registry.asked
    assert asking is not None
    await until(asking.done, "it is asked no more")
    assert registry.asked == asked
    async with feed.stream() as stream:
        assert (await next_of(stream)).number > asked


async def test_a_bug_of_the_registry_s_costs_a_frame_and_no_listener(
    feed: StatisticsFeed, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Request) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(feed, "_ask", fail)
    async with feed.stream() as stream:
        await until(lambda: feed._number >= 2, "it was asked again")
        monkeypatch.setattr(feed, "_ask", registry.ask)
        await until(lambda: registry.asked, "it is asked as before")
        while (await next_of(stream)).statistics is None:
            pass


async def test_who_reads_slowly_gets_the_latest_frame(
    feed: StatisticsFeed, registry: Registry
) -> None:
    async with feed.stream() as stream:
        await next_of(stream)
        await until(lambda: registry.asked > 5, "several frames")
        assert (await next_of(stream)).number >= 5


async def test_a_registry_that_goes_away_is_told_once_until_it_is_back(
    feed: StatisticsFeed, registry: Registry
) -> None:
    async with feed.stream() as stream:
        await next_of(stream)
        registry.away = True
        while (await next_of(stream)).statistics is not None:
            pass
        asked = registry.asked
        assert await stream.next(5 * FRAMES) is None
        assert stream.is_waiting
        assert registry.asked > asked
        registry.away = False
        assert (await next_of(stream)).statistics is not None


async def test_a_stream_opens_while_the_registry_is_away(
    feed: StatisticsFeed, registry: Registry
) -> None:
    registry.away = True
    async with feed.stream() as stream:
        assert stream.is_waiting
        # The opening has said so.
        assert await stream.next(3 * FRAMES) is None
        registry.away = False
        assert (await next_of(stream)).statistics is not None


async def test_a_stop_ends_all_streams_and_begins_none(feed: StatisticsFeed) -> None:
    async with feed.stream() as stream:
        await next_of(stream)
        waiting = asyncio.create_task(stream.next(60.0))
        await asyncio.sleep(0)
        feed.close()
        await within(waiting)
        assert stream.is_over
    with pytest.raises(Draining):
        async with feed.stream():
            pass
