"""The master's generations of task code, described by forked children."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from afterwards.errors import ConfigurationError
from afterwards.server import generations
from afterwards.server.generations import Generations, Result
from afterwards.system.board import Notice
from tests.server.test_serve import is_alive, wait_until

pytestmark = pytest.mark.processes


class Witness:
    def __init__(self) -> None:
        self.begins: list[int] = []
        self.ends: list[tuple[int, Result]] = []

    def open(self) -> None:
        pass

    def begun(self, look: int) -> None:
        self.begins.append(look)

    def ended(self, look: int, result: Result) -> None:
        self.ends.append((look, result))


@pytest.fixture
def witness() -> Witness:
    return Witness()


Make = Callable[[Callable[[], bytes]], Generations]


def summary(data: bytes, former: bytes) -> str:
    assert former
    return f"{len(data)} bytes"


@pytest.fixture
def make(witness: Witness) -> Iterator[Make]:
    made: list[Generations] = []

    def one(describe: Callable[[], bytes]) -> Generations:
        made.append(Generations(b"first", describe, summary, [witness]))
        return made[-1]

    yield one
    for each in made:
        each.close()
        each.board.close()


def ended(generations: Generations, witness: Witness, count: int = 1) -> tuple[int, Result]:
    def look() -> bool:
        generations.look_after(())
        return len(witness.ends) >= count

    wait_until(look, f"{count} looks have ended")
    return witness.ends[-1]


def test_the_first_generation_is_there_from_the_start(make: Make) -> None:
    generations = make(lambda: b"")
    assert generations.board.read(0) == generations.latest == Notice(1, b"first")


def test_what_a_child_says_is_the_next_generation(make: Make, witness: Witness) -> None:
    here = os.getpid()
    generations = make(lambda: b"" if os.getpid() == here else b"second")
    generations.renew()
    assert ended(generations, witness) == (1, Result(2, "6 bytes", failed=False))
    assert generations.board.read(1) == generations.latest == Notice(2, b"second")


def until_published(generations: Generations, workers: set[int]) -> None:
    def look() -> bool:
        generations.look_after(workers)
        return generations.latest.number == 2

    generations.renew()
    wait_until(look, "the second generation is published")


def test_a_look_has_ended_when_all_workers_have_what_it_found(make: Make, witness: Witness) -> None:
    generations = make(lambda: b"second")
    workers = {os.getpid(), os.getppid()}
    until_published(generations, workers)
    generations.board.take(2)
    generations.look_after(workers)
    assert witness.ends == []
    # The other one has ended.
    generations.look_after({os.getpid()})
    assert witness.ends == [(1, Result(2, "6 bytes", failed=False))]


def test_a_worker_that_does_not_take_to_it_is_told_of(
    make: Make, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "TAKE_SECONDS", 0.0)
    one = make(lambda: b"second")
    one.board.take(1)
    until_published(one, {os.getpid(), os.getppid()})
    text = "6 bytes; not yet in use by 2 of 2 workers"
    assert witness.ends == [(1, Result(2, text, failed=False))]


def wrong() -> bytes:
    raise ConfigurationError("AFTERWARDS_TASK_MODULES", "shop: SyntaxError")


def killed() -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def broken() -> bytes:
    raise KeyError("nothing")


ENDED = "the process that looked at the modules ended before it was done"


@pytest.mark.parametrize(
    ("describe", "reason"),
    [(wrong, "AFTERWARDS_TASK_MODULES: shop: SyntaxError"), (killed, ENDED), (broken, ENDED)],
)
def test_what_cannot_be_described_leaves_the_generation_as_it_was(
    make: Make, witness: Witness, describe: Callable[[], bytes], reason: str
) -> None:
    generations = make(describe)
    generations.renew()
    with structlog.testing.capture_logs() as logged:
        assert ended(generations, witness) == (1, Result(1, reason, failed=True))
    assert generations.latest == Notice(1, b"first")
    assert generations.board.read(1) is None
    assert [line["error"] for line in logged] == [reason]


def test_a_child_that_takes_too_long_is_killed(
    make: Make, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "LOOK_SECONDS", 0.05)

    def hang() -> bytes:
        time.sleep(60)
        return b""

    one = make(hang)
    one.renew()
    assert ended(one, witness)[1].text == ENDED


def test_requests_during_a_look_are_one_more_look(
    make: Make, witness: Witness, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    def wait() -> bytes:
        while not gate.exists():
            time.sleep(0.01)
        return gate.read_bytes()

    generations = make(wait)
    for _ in range(5):
        generations.renew()
    assert witness.begins == [1]
    gate.write_bytes(b"seen")
    ended(generations, witness, 2)
    generations.look_after(())
    assert witness.begins == [1, 2]
    assert generations.latest.number == 3


def test_a_child_goes_with_its_master(make: Make, tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def hang() -> bytes:
        note.write_text(str(os.getpid()))
        time.sleep(60)
        return b""

    generations = make(hang)
    generations.renew()
    wait_until(lambda: note.exists() and note.read_text() != "", "the child runs")
    generations.close()
    assert not is_alive(int(note.read_text()))
    generations.look_after(())


def test_a_child_that_cannot_be_started_is_one_line(
    make: Make, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    generations = make(lambda: b"")
    monkeypatch.setattr(os, "fork", no_fork)
    generations.renew()
    [(_, result)] = witness.ends
    assert result.failed
    assert "no process can be started" in result.text
