from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator

import pytest

from afterwards_executors.budget import BURST_BYTES
from afterwards_executors.hosts.output import MAX_LINE_BYTES, Output


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    yield reads, writes
    os.close(reads)


def said(pipe: tuple[int, int], write: Callable[[int], None]) -> list[str]:
    """The lines of what is written, once nobody can write any more."""
    reads, writes = pipe
    lines: list[str] = []

    async def read() -> None:
        output = Output(asyncio.get_running_loop(), reads, lines.append)
        await asyncio.to_thread(write, writes)
        os.close(writes)
        await asyncio.sleep(0.05)
        output.close()

    asyncio.run(read())
    return lines


def test_lines_come_whole_however_they_are_written(pipe: tuple[int, int]) -> None:
    def write(fd: int) -> None:
        for part in (b"o", b"ne\ntw", b"o\n\nthree"):
            os.write(fd, part)

    assert said(pipe, write) == ["one", "two", "", "three"]


def test_of_a_long_line_the_beginning_is_said_once(pipe: tuple[int, int]) -> None:
    def write(fd: int) -> None:
        os.write(fd, b"x" * 3 * MAX_LINE_BYTES)
        os.write(fd, b"y" * 3 * MAX_LINE_BYTES + b"\nnext\n")

    assert said(pipe, write) == ["x" * MAX_LINE_BYTES, "next"]


def test_megabytes_are_read_and_dropped_beyond_the_budget(pipe: tuple[int, int]) -> None:
    def write(fd: int) -> None:
        for _ in range(4_000):
            os.write(fd, b"x" * 999 + b"\n")

    lines = said(pipe, write)
    assert BURST_BYTES // 1_000 - 1 <= len(lines) < 2_500
    assert set(lines[:1_000]) == {"x" * 999}
