"""Attempts start after the answers of their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from afterwards.execution.after_answers import AfterAnswers
from afterwards.server.transport import OneWriteTransport

Story = Callable[[AfterAnswers, list[str]], Awaitable[None]]


def told(story: Story) -> list[str]:
    happened: list[str] = []

    async def tell() -> None:
        later = AfterAnswers()
        later.bind(asyncio.get_running_loop())
        await story(later, happened)
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(tell())
    return happened


class Transport:
    def __init__(self, happened: list[str]) -> None:
        self.happened = happened

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.happened.append(data.decode())


def test_no_attempt_starts_before_the_answers_that_its_turn_has_brought_are_written() -> None:
    async def story(later: AfterAnswers, happened: list[str]) -> None:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(3)]

        async def route(number: int) -> None:
            await futures[number]
            transport: Any = Transport(happened)
            OneWriteTransport(transport, loop).write(f"answer {number}".encode())
            later(lambda: happened.append(f"attempt {number}"))

        routes = [asyncio.ensure_future(route(number)) for number in range(3)]
        await asyncio.sleep(0)
        # As the registry's answer does: a claim that no route waits for, and then all that do.
        later(lambda: happened.append("attempt of a claim"))
        for future in futures:
            future.set_result(None)
        await asyncio.gather(*routes)

    assert told(story) == [
        *(f"answer {number}" for number in range(3)),
        "attempt of a claim",
        *(f"attempt {number}" for number in range(3)),
    ]


def test_what_is_given_meanwhile_waits_as_long() -> None:
    async def story(later: AfterAnswers, happened: list[str]) -> None:
        later(lambda: happened.append("first"))
        await asyncio.sleep(0)
        later(lambda: later(lambda: happened.append("third")))
        for _ in range(2):
            await asyncio.sleep(0)
        happened.append("turns pass")
        await asyncio.sleep(0)
        later(lambda: happened.append("second"))

    happened = told(story)
    assert happened[:2] == ["first", "turns pass"]
    assert set(happened[2:]) == {"second", "third"}


def test_another_thread_has_no_answers_to_wait_for() -> None:
    async def story(later: AfterAnswers, happened: list[str]) -> None:
        await asyncio.to_thread(later, lambda: happened.append("called"))
        happened.append("thread over")

    assert told(story) == ["called", "thread over"]
