"""Another checkout beside this one: measured in turn, and compared round by round."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from afterwards.lifecycle import TaskState
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import Count
from loadtests.bench import stock
from loadtests.bench.beside import Checkout, measure
from loadtests.bench.figures import Figure, Row
from loadtests.bench.run import run
from loadtests.bench.stand import Stand
from loadtests.errors import LoadTestError
from loadtests.servers import PROGRAM
from tests.loadtests.conftest import SMALL, needs_wrk

OTHER = Checkout(Path("/elsewhere/afterwards"), "before")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose command is this one's, and notes that it was used."""
    program = tmp_path / "checkout" / ".venv" / "bin" / "afterwards"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho x >> {tmp_path / "used"}\nexec {PROGRAM} "$@"\n')
    program.chmod(0o755)
    return tmp_path / "checkout"


def test_the_sides_take_turns_at_being_first_and_are_compared_round_by_round(
    tmp_path: Path,
) -> None:
    order: list[str] = []

    def measurement(stand: Stand) -> Iterator[Row]:
        order.append("theirs" if stand.program == OTHER.program else "ours")
        number = len(order)
        yield Row("post", "POST", "1/s", Figure.of([number]), Figure.of([100]), "bare route")
        yield Row("post", "start", "s", Figure.of([10 * number]))

    stand = Stand(replace(SMALL, rounds=3), tmp_path)
    rows = list(measure(measurement, stand, OTHER))

    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert [row.beside_name for row in rows] == ["bare route", "before", "before"]
    assert [row.ours.values for row in rows] == [(1, 4, 5), (1, 4, 5), (10, 40, 50)]
    assert rows[0].beside == Figure.of([100, 100, 100])
    assert rows[1].ratio == Figure.of([1 / 2, 4 / 3, 5 / 6])


def test_figures_of_other_names_are_not_compared(tmp_path: Path) -> None:
    def measurement(stand: Stand) -> Iterator[Row]:
        yield Row("post", str(stand.program), "1/s", Figure.of([1]))

    with pytest.raises(LoadTestError, match="before measures '/elsewhere/afterwards'"):
        list(measure(measurement, Stand(SMALL, tmp_path), OTHER))


@needs_wrk
@pytest.mark.thorough
@pytest.mark.timeout(180)
def test_a_run_measures_the_other_checkout_s_service_too(checkout: Path, tmp_path: Path) -> None:
    text, _ = run(
        ["latency"], SMALL, tmp_path, tmp_path, lambda _: None, checkout=Checkout.at(checkout)
    )
    lines = [line for line in text.splitlines() if line.startswith("POST")]
    assert ["bare route" in line for line in lines] == [True, False, True, False]
    assert ["checkout" in line for line in lines] == [False, True, False, True]
    assert (tmp_path / "used").read_text() == "x\n" * SMALL.rounds


def test_a_journal_for_the_other_checkout_is_written_by_its_own_code(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / "loadtests").symlink_to(Path(__file__).parents[3] / "loadtests")
    python = checkout / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\npwd >> {tmp_path / "used"}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)

    program = python.with_name("afterwards")
    task_ids = stock.fill_by(program, tmp_path / "data", 30)

    assert len(set(task_ids)) == 30
    assert (tmp_path / "used").read_text() == f"{checkout}\n"
    with closing(SqliteJournal(tmp_path / "data" / stock.FILE_NAME)) as journal:
        assert journal.count(Count(Filter(frozenset({TaskState.SUCCESS})))).number == 30


def test_a_checkout_without_its_dependencies_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match=f"run make install in {tmp_path}"):
        Checkout.at(tmp_path)


def test_a_checkout_is_called_by_its_commit_or_its_folder(checkout: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        run = subprocess.run(["git", *who, *words], cwd=checkout, capture_output=True, check=True)
        return run.stdout.decode().strip()

    assert Checkout.at(checkout).name == "checkout"
    git("init", "--quiet")
    (checkout / "file").touch()
    git("add", "file")
    git("commit", "--quiet", "--message", "first")
    assert Checkout.at(checkout).name == git("rev-parse", "--short", "HEAD")
    (checkout / "file").write_text("changed")
    assert Checkout.at(checkout).name.endswith("+")
