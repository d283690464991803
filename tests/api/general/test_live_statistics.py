"""`/stats/events`."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest

from afterwards.api.event_frames import WAITING
from afterwards.api.live_statistics import MAX_FRAME_BYTES, statistics_frame
from afterwards.counts import Cell, Snapshot
from afterwards.events.statistics import StatisticsFrame
from afterwards.registry.protocol.answers import Statistics
from afterwards.service.service import TaskService
from tests.api.general.conftest import Hand, submitted
from tests.events.conftest import until

pytestmark = pytest.mark.anyio


def data_of(event: str) -> Any:
    name, data = event.strip("\n").split("\n")
    assert name == "event: stats"
    return json.loads(data.removeprefix("data: "))


async def test_the_first_event_comes_at_once_and_a_stop_ends_the_stream(
    api: httpx.AsyncClient, service: TaskService, hand: Hand
) -> None:
    done = (await submitted(api))["id"]
    hand.succeed(hand.claim(done), b"{}")
    await submitted(api, type="nothing", delay_seconds=60)
    asking = asyncio.create_task(api.get("/stats/events"))
    await until(lambda: service._events.statistics._shown[0], "a frame that is sent")
    service._events.close()
    answer = await asyncio.wait_for(asking, 10)

    assert answer.headers["content-type"].startswith("text/event-stream")
    opening, event, *_ = answer.text.split("\n\n")
    assert opening == "retry: 1000"
    found = data_of(event)
    assert found["tasks"] == {
        "scheduled": 1,
        "pending": 0,
        "processing": 0,
        "success": 1,
        "failed": 0,
        "cancelled": 0,
        "retrying": 0,
    }
    assert found["by_type"] == {"nothing": {"scheduled": 1}, "note": {"success": 1}}
    assert found["slots"]["async"] == {"busy": 0, "free": 10, "stuck": 0}
    assert set(found["per_second"]) == {"submitted", "finished", "failed"}
    assert (found["workers"], found["paused_types"], found["types_left_out"]) == (2, [], 0)


def statistics(counts: dict[Cell, int], paused: tuple[str, ...] = ()) -> StatisticsFrame:
    slots = Counter({("async", state): 1_000_000 for state in ("busy", "free", "stuck")})
    snapshot = Snapshot(counts, 1.5, slots, 8)
    return StatisticsFrame(1, 1_750_000_000.0, Statistics(snapshot, 1.0, 0.5, paused, 0, 0))


def test_a_frame_has_an_upper_bound_and_the_types_with_the_most_to_do() -> None:
    counts: dict[Cell, int] = {}
    for n in range(300):
        name = f"a_rather_long_name_of_a_type_\N{SNOWMAN}_{n}"
        counts["tasks", name, "pending"] = 10**6 + n
        counts["tasks", name, "success"] = 10**8
        counts["tasks", name, "failed"] = 0
        counts["retrying", name, ""] = n % 2
    paused = tuple(name for _, name, _ in counts)
    frame = statistics_frame(statistics(counts, paused))
    assert len(frame) <= MAX_FRAME_BYTES
    assert len(frame) > MAX_FRAME_BYTES // 2
    found = data_of(frame.decode())
    assert len(found["by_type"]) + found["types_left_out"] == 300
    first, second, *_ = found["by_type"].values()
    assert first == {"pending": 1_000_299, "success": 10**8, "retrying": 1}
    assert second == {"pending": 1_000_298, "success": 10**8}
    assert found["tasks"]["retrying"] == 150


def test_a_registry_that_is_away_is_a_comment() -> None:
    assert statistics_frame(StatisticsFrame(1, 0.0, None)) == WAITING
    assert WAITING.startswith(b":")


async def test_a_query_is_refused(api: httpx.AsyncClient) -> None:
    assert (await api.get("/stats/events?range=1h")).status_code == 422
