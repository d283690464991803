"""The laws of a stream: in order, without a gap, without repetition, and never in the way."""

from __future__ import annotations

import asyncio
import random
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from afterwards.errors import Draining, TaskNotFound
from afterwards.events import hub as hub_module
from afterwards.events.streams import (
    AllStream,
    Portion,
    Reset,
    Snapshot,
)
from afterwards.events.task_stream import TaskStream
from afterwards.events.window import NOWHERE, Position
from afterwards.lifecycle import TaskState
from afterwards.registry.protocol.requests import Cancel, Changes, Counts, Progress, Request
from tests.events.conftest import Stage, until, within
from tests.registry.peers import Peer, ask, counts, make_task

pytestmark = pytest.mark.anyio

PENDING, PROCESSING, SUCCESS = TaskState.PENDING, TaskState.PROCESSING, TaskState.SUCCESS
LONG = 3_600.0


async def following(stage: Stage) -> None:
    """Have the registry followed already."""
    with stage.hub.of_all():
        await within(stage.hub.ready())


async def states(stream: AllStream | TaskStream, number: int) -> list[TaskState]:
    """The states that the next events tell; their portions are put together."""
    found: list[TaskState] = []
    while len(found) < number:
        item = await within(stream.next(LONG))
        assert isinstance(item, Portion), item
        found += [event.state for event in item.events]
    return found


async def first_reset(stream: AllStream) -> Reset:
    item = await within(stream.next(LONG))
    assert isinstance(item, Reset), item
    return item


async def first_snapshot(stream: TaskStream) -> Snapshot:
    item = await within(stream.next(LONG))
    assert isinstance(item, Snapshot), item
    return item


# -- one task -------------------------------------------------------------------------------------


async def test_a_task_is_shown_then_told_of_up_to_its_end(stage: Stage) -> None:
    task = make_task()
    stage.peer.add(make_task())
    claim = stage.peer.run(task)
    async with stage.service.task_stream(task.id, None) as stream:
        shown = await first_snapshot(stream)
        assert (shown.task.state, shown.progress) == (PROCESSING, None)

        stage.peer.fail(claim, retry_in=0.0)
        [again] = stage.peer.take()
        stage.peer.succeed(again)

        assert await states(stream, 4) == [TaskState.SCHEDULED, PENDING, PROCESSING, SUCCESS]
        assert stream.is_over
        assert await within(stream.next(LONG)) is None


async def test_what_happens_while_a_stream_begins_is_told_once(stage: Stage) -> None:
    """Either the snapshot has it, or it follows: never both, never neither."""
    order = [PENDING, PROCESSING, SUCCESS]
    await following(stage)
    for _ in range(100):
        task = stage.add()
        other = threading.Thread(target=finish, args=[stage.peer, task.id])
        stage.peer.slots["process"] = 1
        other.start()
        async with stage.service.task_stream(task.id, None) as stream:
            shown = await first_snapshot(stream)
            told = [shown.task.state]
            while not stream.is_over:
                item = await within(stream.next(LONG))
                if item is not None:
                    assert isinstance(item, Portion)
                    told += [event.state for event in item.events]
        await asyncio.to_thread(other.join)
        assert told == order[order.index(shown.task.state) :]


def finish(peer: Peer, task_id: str) -> None:
    peer.beat()
    while task_id not in peer.table:
        peer.take()
    peer.succeed(peer.table[task_id])


async def test_a_finished_task_is_shown_and_that_is_all(stage: Stage) -> None:
    claim = stage.peer.run(make_task())
    stage.peer.succeed(claim)
    async with stage.service.task_stream(claim.task_id, None) as stream:
        shown = await first_snapshot(stream)
        assert shown.task.state is SUCCESS
        assert stream.is_over
    async with stage.service.task_stream(claim.task_id, shown.position) as stream:
        assert stream.is_over


async def test_who_has_seen_the_end_of_a_task_is_told_so(stage: Stage) -> None:
    await following(stage)
    claim = stage.peer.run(make_task())
    async with stage.service.task_stream(claim.task_id, None) as stream:
        await first_snapshot(stream)
        stage.peer.succeed(claim)
        await states(stream, 1)
        end = stream.position
    async with stage.service.task_stream(claim.task_id, end) as stream:
        assert stream.is_over
    before = Position(end.epoch, end.sequence - 1)
    async with stage.service.task_stream(claim.task_id, before) as stream:
        assert await states(stream, 1) == [SUCCESS]
        assert stream.is_over


async def test_who_comes_back_ahead_of_this_worker_gets_the_rest(stage: Stage) -> None:
    """Another worker may be further with its following."""
    claim = stage.peer.run(make_task())
    async with stage.service.task_stream(claim.task_id, None) as stream:
        await first_snapshot(stream)
        stage.line.passing.clear()
        stage.add()
        now = ask(stage.line.registry, Changes("", 0))
        position = Position(now.epoch, now.sequence)
        assert stage.hub.window.last < now.sequence
        async with (
            stage.service.task_stream(claim.task_id, position) as ahead,
            stage.service.all_streams(position) as everything,
        ):
            assert not ahead.is_over
            stage.line.passing.set()
            stage.peer.succeed(claim)
            assert await states(ahead, 1) == [SUCCESS]
            assert await states(everything, 1) == [SUCCESS]


async def test_progress_is_shown_and_told(stage: Stage) -> None:
    claim = stage.peer.run(make_task())
    stage.peer.ask(Progress(claim.task_id, 1, 0.25))
    async with stage.service.task_stream(claim.task_id, None) as stream:
        shown = await first_snapshot(stream)
        assert shown.progress is not None
        assert shown.progress.fraction == 0.25
        stage.peer.ask(Progress(claim.task_id, 1, 0.5, "half"))
        item = await within(stream.next(LONG))
        assert isinstance(item, Portion)
        assert [event.progress[1:3] for event in item.events if event.progress] == [(0.5, "half")]
        assert not stream.is_over


async def test_there_is_no_stream_of_what_is_not_there(stage: Stage) -> None:
    for missing in (str(uuid.uuid4()), "no-uuid"):
        with pytest.raises(TaskNotFound):
            async with stage.service.task_stream(missing, None):
                pass
    assert not stage.hub._of_tasks


async def test_too_much_progress_for_a_slow_listener_is_a_snapshot(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.events.listeners.QUEUED_EVENTS", 10)
    claim = stage.peer.run(make_task())
    async with stage.service.task_stream(claim.task_id, None) as stream:
        await first_snapshot(stream)
        for percent in range(50):
            stage.peer.ask(Progress(claim.task_id, 1, percent / 100))
        last = stage.line.registry.views.events.sequence
        await until(lambda: stage.hub.window.last == last, "followed")
        assert len(stream._listener._events) <= 10

        shown = await first_snapshot(stream)

        assert shown.progress is not None
        assert shown.progress.fraction == 0.49
        stage.peer.succeed(claim)
        assert await states(stream, 1) == [SUCCESS]


# -- all tasks ------------------------------------------------------------------------------------


async def test_all_events_come_in_order_from_the_beginning_of_the_stream(stage: Stage) -> None:
    stage.add()
    async with stage.service.all_streams(None) as stream:
        start = stream.position
        claim = stage.peer.run(make_task())
        stage.peer.succeed(claim)
        assert await states(stream, 3) == [PENDING, PROCESSING, SUCCESS]
        assert stream.position == Position(start.epoch, start.sequence + 3)


async def test_nothing_within_the_time_is_nothing(stage: Stage) -> None:
    task = stage.add()
    async with stage.service.all_streams(None) as stream:
        assert await within(stream.next(0.01)) is None
    async with stage.service.task_stream(task.id, None) as one:
        await first_snapshot(one)
        assert await within(one.next(0.01)) is None


async def test_a_quiet_stream_moves_on_with_the_others(stage: Stage) -> None:
    """So that who comes back after a long silence has not missed what was not kept."""
    task = stage.add()
    async with stage.service.task_stream(task.id, None) as stream:
        await first_snapshot(stream)
        stage.add()
        last = stage.line.registry.views.events.sequence
        await until(lambda: stage.hub.window.last == last, "followed")
        assert await within(stream.next(0.01)) is None
        assert stream.position.sequence == last


@pytest.mark.parametrize("position", [NOWHERE, Position("fe", 0), Position("", 10**17)])
async def test_a_position_of_another_epoch_is_a_reset(stage: Stage, position: Position) -> None:
    task = stage.add()
    async with stage.service.all_streams(position) as stream:
        reset = await first_reset(stream)
        assert reset.counts[task.type, PENDING] == 1
        stage.add()
        assert await states(stream, 1) == [PENDING]
    async with stage.service.task_stream(task.id, position) as one:
        assert (await first_snapshot(one)).task.id == task.id


async def test_a_position_that_nobody_was_given_is_a_reset(stage: Stage) -> None:
    async with stage.service.all_streams(None) as stream:
        epoch, last = stream.position
    async with stage.service.all_streams(Position(epoch, last + 10**6)) as stream:
        assert (await first_reset(stream)).position.sequence == last


async def test_a_listener_that_is_too_slow_is_reset_and_nothing_piles_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.events.window.WINDOW_EVENTS", 10)
    async with stage.service.all_streams(None) as slow:
        for _ in range(40):
            stage.add()
        last = stage.line.registry.views.events.sequence
        await until(lambda: stage.hub.window.last == last, "followed")
        assert len(stage.hub.window._events) <= 20

        reset = await first_reset(slow)

        assert reset.counts == ask(stage.line.registry, Counts())
        stage.add()
        assert await states(slow, 1) == [PENDING]


# -- the registry ---------------------------------------------------------------------------------


async def test_a_stream_outlasts_a_broken_connection_without_a_gap(stage: Stage) -> None:
    async with stage.service.all_streams(None) as stream:
        for _ in range(3):
            stage.line.cut = True
            stage.add()
            await until(lambda: not stage.hub.is_live, "not followed")
            claim = stage.peer.run(make_task())
            stage.line.cut = False
            assert await states(stream, 3) == [PENDING, PENDING, PROCESSING]
            stage.peer.succeed(claim)
            assert await states(stream, 1) == [SUCCESS]


async def test_another_epoch_is_a_reset_for_everybody(stage: Stage) -> None:
    """The connection that asks gets there sooner or later than the one that follows."""
    task = stage.add()
    async with (
        stage.service.all_streams(None) as everything,
        stage.service.task_stream(task.id, None) as one,
    ):
        await first_snapshot(one)
        registry = await asyncio.to_thread(stage.line.replace)
        stage.peer.registry = registry
        await asyncio.to_thread(stage.peer.join)
        stage.peer.add(task)

        reset = await first_reset(everything)
        assert reset.position.epoch == registry.views.events.epoch
        shown = await first_snapshot(one)
        assert (shown.position.epoch, shown.task.id) == (reset.position.epoch, task.id)


async def test_a_task_that_is_not_there_after_a_reset_ends_its_stream(stage: Stage) -> None:
    task = stage.add()
    async with stage.service.task_stream(task.id, None) as stream:
        await first_snapshot(stream)
        await asyncio.to_thread(stage.line.replace)
        assert await within(stream.next(LONG)) is None
        assert stream.is_over


@pytest.fixture
def away(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry does not answer, until the line is mended."""
    monkeypatch.setattr(hub_module, "READY_SECONDS", 0.05)
    monkeypatch.setattr("afterwards.registry.client.waiting_calls.WAIT_SECONDS", 0.05)
    stage.line.fail()


async def test_a_stream_waits_for_the_registry_and_goes_on(stage: Stage, away: None) -> None:
    del away
    task_id = str(uuid.uuid4())
    async with (
        stage.service.all_streams(None) as everything,
        stage.service.task_stream(task_id, None) as one,
    ):
        assert everything.is_waiting
        assert one.is_waiting
        assert await within(everything.next(0.0)) is None
        assert await within(one.next(0.0)) is None
        stage.line.mend()
        task = stage.add(id=task_id)
        assert (await first_snapshot(one)).task.id == task.id
        await first_reset(everything)
        stage.peer.ask(Cancel(task_id))
        assert await states(one, 1) == [TaskState.CANCELLED]
    assert not stage.hub._of_all
    assert not stage.hub._of_tasks


async def test_a_stream_that_has_waited_goes_on_where_the_client_was(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "READY_SECONDS", 0.05)
    monkeypatch.setattr("afterwards.registry.client.waiting_calls.WAIT_SECONDS", 0.05)
    stage.add()
    events = stage.line.registry.views.events
    seen = Position(events.epoch, events.sequence)
    task = stage.add()
    stage.peer.ask(Cancel(task.id))
    stage.line.fail()
    async with (
        stage.service.all_streams(seen) as everything,
        stage.service.task_stream(task.id, seen) as one,
    ):
        stage.line.mend()
        for stream in (one, everything):
            assert await states(stream, 2) == [PENDING, TaskState.CANCELLED]


async def test_a_stream_of_a_task_that_is_not_there_ends_when_the_registry_is_back(
    stage: Stage, away: None
) -> None:
    del away
    async with stage.service.task_stream(str(uuid.uuid4()), None) as stream:
        assert stream.is_waiting
        stage.line.mend()
        assert await within(stream.next(LONG)) is None
        assert stream.is_over
    with pytest.raises(TaskNotFound):
        async with stage.service.task_stream(str(uuid.uuid4()), None):
            pass


async def test_a_process_that_stops_ends_its_streams(stage: Stage) -> None:
    task = stage.add()
    async with (
        stage.service.all_streams(None) as everything,
        stage.service.task_stream(task.id, None) as one,
    ):
        await first_snapshot(one)
        waiting = [asyncio.create_task(stream.next(LONG)) for stream in (everything, one)]
        await asyncio.sleep(0)

        stage.hub.close()

        assert await within(asyncio.gather(*waiting)) == [None, None]
        assert everything.is_over
        assert one.is_over
    with pytest.raises(Draining):
        async with stage.service.all_streams(None):
            pass


# -- many -----------------------------------------------------------------------------------------


def churn(stage: Stage, tasks: int, over: threading.Event) -> None:
    """Somebody is busy."""
    for _ in range(tasks):
        stage.peer.succeed(stage.peer.run(make_task()))
    over.set()


async def come_and_go(
    connect: Callable[[Position | None], AbstractAsyncContextManager[Any]],
    over: threading.Event,
    last: Callable[[], int],
) -> list[int]:
    """Listen in pieces, each where the one before was cut; the sequences that were told."""
    told: list[int] = []
    position: Position | None = None
    while not (over.is_set() and position is not None and position.sequence >= last()):
        async with connect(position) as stream:
            position = position or stream.position
            for _ in range(random.randint(1, 3)):
                item = await within(stream.next(0.05))
                if item is None:
                    break
                assert isinstance(item, Portion), "nobody is so slow here"
                # A connection breaks anywhere: the client has the first so many of a portion.
                seen = item.events[: random.randint(1, len(item.events))]
                told += [event.sequence for event in seen]
                position = Position(item.end.epoch, told[-1])
                if len(seen) < len(item.events):
                    break
    return told


async def test_who_comes_back_has_neither_a_gap_nor_a_repetition(stage: Stage) -> None:
    over = threading.Event()
    log = stage.line.registry.views.events
    async with stage.service.all_streams(None) as first:
        start = first.position.sequence
        busy = threading.Thread(target=churn, args=[stage, 1_000, over])
        clients = [
            come_and_go(
                lambda position: stage.service.all_streams(position or first.position),
                over,
                lambda: log.sequence,
            )
            for _ in range(10)
        ]
        busy.start()
        for told in await within(asyncio.gather(*clients), 60):
            assert told == list(range(start + 1, start + 3_001))
    await asyncio.to_thread(busy.join)


async def test_a_thousand_listeners_are_one_follower_of_the_registry(stage: Stage) -> None:
    tasks = [stage.add() for _ in range(10)]
    line = stage.line

    async def listen(number: int) -> str:
        if number % 2:
            async with stage.service.all_streams(None) as stream:
                ready.append(number)
                event, *_ = (await within(stream.next(LONG))).events
                return str(event.state)
        async with stage.service.task_stream(tasks[number % 10].id, None) as one:
            await first_snapshot(one)
            ready.append(number)
            event, *_ = (await within(one.next(LONG))).events
            return str(event.state)

    ready: list[int] = []
    listening = [asyncio.create_task(listen(number)) for number in range(1_000)]
    await until(lambda: len(ready) == 1_000, "all listen")
    assert (line.under_way, line.most_under_way) == (1, 1)
    before = line.follows

    stage.peer.slots["process"] = 10
    stage.peer.beat()

    assert set(await within(asyncio.gather(*listening))) == {"processing"}
    assert line.follows - before <= 10
    assert line.most_under_way == 1


async def test_a_thousand_that_come_back_ask_the_registry_a_few_times(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage.service.all_streams(None) as stream:
        epoch, start = stream.position
    for _ in range(1_000):
        stage.add()
    await asyncio.sleep(0)
    stage.hub._end()  # they came back to another worker
    asked: list[object] = []
    ask = stage.hub._ask

    def count(request: Request) -> object:
        asked.append(request)
        return ask(request)

    monkeypatch.setattr(stage.hub, "_ask", count)

    async def come_back(number: int) -> int:
        async with stage.service.all_streams(Position(epoch, start + number)) as stream:
            return len(await states(stream, 1_000 - number))

    numbers = random.sample(range(1_000), 1_000)
    found = await within(asyncio.gather(*map(come_back, numbers)), 30)
    assert found == [1_000 - number for number in numbers]
    assert len(asked) <= 3


async def test_the_registry_is_followed_only_while_somebody_listens(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr("afterwards.registry.client.follower.FOLLOW_SECONDS", 0.01)
    assert stage.line.follows == 0
    for _ in range(2):
        async with stage.service.all_streams(None) as stream:
            stage.add()
            assert await states(stream, 1) == [PENDING]
        await until(lambda: stage.hub._follower is None, "not followed")
        await until(lambda: stage.line.under_way == 0, "no call is left")
        assert stage.hub.window.end == NOWHERE
    assert sum(counts(stage.line.registry).values()) == 2
