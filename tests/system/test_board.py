from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from afterwards.system.board import Board, Notice


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board()
    yield made
    made.close()


def test_nothing_is_there_at_first(board: Board) -> None:
    assert board.read(0) is None


def test_the_latest_is_read_once(board: Board) -> None:
    board.publish(Notice(2, b"a longer one"))
    board.publish(Notice(3, b"short"))
    assert board.read(2) == Notice(3, b"short")
    assert board.read(3) is None


def test_what_is_not_whole_is_not_read(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.publish(Notice(1, b"a" * 100))
    real = os.pwrite
    steps: list[Notice | None] = []

    def by_bytes(fd: int, data: memoryview, at: int) -> int:
        steps.append(board.read(0))
        return real(fd, data[:7], at)

    monkeypatch.setattr(os, "pwrite", by_bytes)
    board.publish(Notice(2, b"b" * 50))
    assert {step for step in steps if step} == {Notice(1, b"a" * 100)}
    assert board.read(0) == Notice(2, b"b" * 50)


@pytest.mark.processes
def test_a_forked_process_reads_only_whole_ones_while_they_are_published(board: Board) -> None:
    if reader := os.fork():
        number = 0
        while os.waitpid(reader, os.WNOHANG) == (0, 0) and number < 10_000:
            number += 1
            board.publish(Notice(number, bytes([number % 251]) * (number % 7 * 9_000 + 1)))
        board.publish(Notice(10**6, b""))
        status = 0
        if number == 10_000:
            _, status = os.waitpid(reader, 0)
        assert status == 0
        return
    status, latest, until = 1, 0, time.monotonic() + 60
    try:
        while latest < 5_000 and time.monotonic() < until:
            found = board.read(latest)
            if found is None:
                continue
            assert found.number > latest
            assert found.data == found.data[:1] * (found.number % 7 * 9_000 + 1) or not found.data
            latest = found.number
        status = 0
    finally:
        os._exit(status)


@pytest.mark.processes
def test_who_has_taken_what_is_known_until_something_new_is_there(board: Board) -> None:
    board.publish(Notice(2, b""))
    assert board.takers(2) == set()
    pid = os.fork()
    if pid == 0:
        board.take(2)
        os._exit(0)
    os.waitpid(pid, 0)
    board.take(1)
    assert board.takers(1) == {pid, os.getpid()}
    assert board.takers(2) == {pid}
    board.publish(Notice(3, b""))
    assert board.takers(0) == set()
