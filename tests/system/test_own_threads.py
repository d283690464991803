"""Threads of the service's own: bounded, reused, and a call that was refused never begins."""

from __future__ import annotations

import asyncio
import threading

import pytest

from afterwards.system.own_threads import OwnThreads


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def refuse(*_: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.anyio
async def test_what_a_function_returns_or_raises_comes_back() -> None:
    threads = OwnThreads("own", 2)

    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)


@pytest.mark.anyio
async def test_there_are_no_more_threads_than_allowed_and_idle_ones_are_reused() -> None:
    threads = OwnThreads("own", 2)
    first = [await threads.run(threading.get_ident) for _ in range(5)]
    both_there = threading.Barrier(2, timeout=20)

    def meet() -> int:
        both_there.wait()
        return threading.get_ident()

    used = await asyncio.gather(*(threads.run(meet) for _ in range(6)))

    assert len(set(used)) == 2
    assert set(first) <= set(used)


@pytest.mark.anyio
async def test_what_is_cancelled_before_it_has_begun_never_begins() -> None:
    threads = OwnThreads("own", 1)
    is_over = threading.Event()
    ran: list[int] = []
    first = asyncio.create_task(threads.run(is_over.wait))
    waiting = asyncio.create_task(threads.run(ran.append, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    is_over.set()

    assert await first
    await threads.run(ran.append, 2)
    assert ran == [2]


@pytest.mark.anyio
async def test_what_no_thread_can_be_started_for_is_refused_and_never_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = OwnThreads("own", 1)
    ran: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading, "_start_new_thread", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await threads.run(ran.append, 1)

    await threads.run(ran.append, 2)
    assert ran == [2]


@pytest.mark.anyio
async def test_where_there_is_a_thread_it_does_when_no_other_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = OwnThreads("own", 2)
    is_over = threading.Event()
    ran: list[int] = []
    first = asyncio.create_task(threads.run(is_over.wait))
    await asyncio.sleep(0)
    monkeypatch.setattr(threading, "_start_new_thread", refuse)
    second = asyncio.create_task(threads.run(ran.append, 1))
    await asyncio.sleep(0)
    is_over.set()

    await asyncio.gather(first, second)
    assert ran == [1]
