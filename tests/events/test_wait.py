"""Waiting for a task's end."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from afterwards.errors import TaskNotFound
from afterwards.lifecycle import TaskState
from afterwards.registry.protocol.requests import Progress
from tests.events.conftest import Stage, until, within
from tests.registry.peers import make_task

pytestmark = pytest.mark.anyio

LONG = 3_600.0


@pytest.fixture(autouse=True)
def no_looking_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have only an event end a wait."""
    monkeypatch.setattr("afterwards.service.waiting.LOOK_AGAIN_SECONDS", LONG)


async def test_a_wait_ends_with_the_task(stage: Stage) -> None:
    claim = stage.peer.run(make_task())
    waiting = asyncio.create_task(stage.service.wait(claim.task_id, LONG))
    await until(lambda: stage.hub.is_live, "followed")
    assert not waiting.done()

    stage.peer.succeed(claim)

    task = await within(waiting)
    assert (task.id, task.state) == (claim.task_id, TaskState.SUCCESS)


async def test_a_wait_ends_with_a_report_from_here_before_its_event_comes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = stage.peer.run(make_task())
    waiting = asyncio.create_task(stage.service.wait(claim.task_id, LONG))
    await until(lambda: stage.hub.is_live, "followed")
    monkeypatch.setattr(stage.hub, "_tell", lambda _: None)
    stage.peer.succeed(claim)

    await asyncio.to_thread(stage.hub.has_news, claim.task_id)

    assert (await within(waiting)).state is TaskState.SUCCESS


async def test_a_finished_task_is_not_waited_for(stage: Stage) -> None:
    claim = stage.peer.run(make_task())
    stage.peer.succeed(claim)
    assert (await within(stage.service.wait(claim.task_id, LONG))).state is TaskState.SUCCESS


async def test_what_ends_while_following_begins_is_not_missed(stage: Stage) -> None:
    for _ in range(50):
        claim = stage.peer.run(make_task())
        waiting = asyncio.create_task(stage.service.wait(claim.task_id, LONG))
        await asyncio.sleep(0)
        stage.peer.succeed(claim)
        assert (await within(waiting)).state is TaskState.SUCCESS
        await until(lambda: not stage.hub._of_tasks, "nobody listens")
        stage.hub._end()


async def test_a_wait_gives_the_task_as_it_stands_when_time_is_up(stage: Stage) -> None:
    task = stage.add()
    assert (await within(stage.service.wait(task.id, 0.01))).state is TaskState.PENDING
    assert (await within(stage.service.wait(task.id, 0))).state is TaskState.PENDING


async def test_a_wait_does_not_hold_a_process_that_stops(stage: Stage) -> None:
    task = stage.add()
    waiting = asyncio.create_task(stage.service.wait(task.id, LONG))
    await until(lambda: stage.hub.is_live, "followed")

    stage.hub.close()

    assert (await within(waiting)).state is TaskState.PENDING
    assert (await within(stage.service.wait(task.id, LONG))).state is TaskState.PENDING


async def test_without_events_the_task_is_looked_at_now_and_then(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.service.waiting.LOOK_AGAIN_SECONDS", 0.01)
    stage.line.cut = True
    claim = stage.peer.run(make_task())
    waiting = asyncio.create_task(stage.service.wait(claim.task_id, LONG))
    await until(lambda: stage.line.follows > 1, "following was tried")

    stage.peer.succeed(claim)

    assert (await within(waiting)).state is TaskState.SUCCESS
    assert not stage.hub.is_live


async def test_a_wait_outlasts_a_broken_connection(stage: Stage) -> None:
    claim = stage.peer.run(make_task())
    waiting = asyncio.create_task(stage.service.wait(claim.task_id, LONG))
    await until(lambda: stage.hub.is_live, "followed")
    stage.line.cut = True
    stage.add()
    await until(lambda: not stage.hub.is_live, "not followed any more")

    stage.peer.succeed(claim)
    stage.line.cut = False

    assert (await within(waiting)).state is TaskState.SUCCESS


async def test_there_is_no_waiting_for_what_is_not_there(stage: Stage) -> None:
    for missing in (str(uuid.uuid4()), "no-uuid"):
        with pytest.raises(TaskNotFound):
            await within(stage.service.wait(missing, LONG))
    assert not stage.hub._of_tasks


async def test_progress_and_retries_do_not_end_a_wait(stage: Stage) -> None:
    claim = stage.peer.run(make_task())
    waiting = asyncio.create_task(stage.service.wait(claim.task_id, LONG))
    await until(lambda: stage.hub.is_live, "followed")
    stage.peer.ask(Progress(claim.task_id, 1, 0.5))
    stage.peer.fail(claim, retry_in=0.0)
    [again] = stage.peer.take()
    stage.peer.fail(again)
    assert (await within(waiting)).state is TaskState.FAILED


async def test_who_waits_when_events_can_not_be_followed_any_more_looks_itself(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwards.service.waiting.LOOK_AGAIN_SECONDS", 0.01)
    claim = stage.peer.run(make_task())
    waiting = asyncio.create_task(stage.service.wait(claim.task_id, LONG))
    await until(lambda: stage.hub.is_live, "followed")
    stage.line.cut = True
    stage.add()
    await until(lambda: not stage.hub.is_live, "not followed any more")

    stage.peer.succeed(claim)

    assert (await within(waiting)).state is TaskState.SUCCESS
    assert not stage.hub.is_live
