from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from afterwards_executors.base import End
from afterwards_executors.board import Begun, Board, Pen
from tests.executors import guests, work
from tests.executors.conftest import DEADLINE_SECONDS, MakeExecutor
from tests.executors.test_crew import submit


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board()
    yield board
    board.close()


def test_nothing_has_begun_at_first(board: Board) -> None:
    assert board.read() == Begun(0.0, 0)


def test_calls_that_begin_add_up(board: Board) -> None:
    pen = Pen(os.dup(board.fileno()))
    pen.write(2, 0.0)
    pen.write(1, 0.25)

    assert board.read() == Begun(0.25, 3)


@pytest.mark.processes
def test_what_was_written_outlives_a_process_that_is_killed(board: Board) -> None:
    child = os.fork()
    if child == 0:
        Pen(os.dup(board.fileno())).write(5, 1.5)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)

    assert board.read() == Begun(1.5, 5)


@pytest.mark.processes
def test_a_call_that_ends_its_host_at_once_has_begun(
    hosted: str, make_executor: MakeExecutor
) -> None:
    executor = make_executor(hosted, 1)
    assert submit(executor, work.succeed).result(DEADLINE_SECONDS).end is End.SUCCEEDED
    outcomes = [submit(executor, guests.kill_the_group) for _ in range(3)]

    assert [one.result(DEADLINE_SECONDS).end for one in outcomes] == [End.LOST] * 3
