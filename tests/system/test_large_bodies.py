"""Large bodies are worked on in a thread, small ones and those without a thread in place."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from afterwards.system import large_bodies
from afterwards.system.large_bodies import LARGE_BYTES, aside
from afterwards.system.own_threads import OwnThreads

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def refuse(*_: object) -> None:
    raise RuntimeError("can't start new thread")


async def test_a_small_body_is_worked_on_in_place() -> None:
    assert await aside(LARGE_BYTES, threading.get_ident) == threading.get_ident()


async def test_a_large_one_is_worked_on_in_a_thread_without_collections() -> None:
    assert await aside(LARGE_BYTES + 1, threading.get_ident) != threading.get_ident()
    assert not await aside(LARGE_BYTES + 1, gc.isenabled)
    assert gc.isenabled()


async def test_others_have_their_turn_before_a_large_one_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    begin = OwnThreads.run

    def run(*arguments: Any) -> Any:
        order.append("begun")
        return begin(*arguments)

    monkeypatch.setattr(OwnThreads, "run", run)
    asyncio.get_running_loop().call_soon(order.append, "others")
    await aside(LARGE_BYTES + 1, threading.get_ident)
    assert order == ["others", "begun"]


async def test_what_goes_wrong_there_comes_back() -> None:
    with pytest.raises(ZeroDivisionError):
        await aside(LARGE_BYTES + 1, divmod, 7, 0)
    assert gc.isenabled()


async def test_where_no_thread_can_be_had_it_is_worked_on_in_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_bodies, "_THREAD", OwnThreads("none", 1))
    monkeypatch.setattr(threading, "_start_new_thread", refuse)

    assert await aside(LARGE_BYTES + 1, threading.get_ident) == threading.get_ident()
    assert gc.isenabled()
