"""A run beside another checkout of the service, such as the commit before.

Each round measures the one and then the other, each started anew, and the next round the other way
round: a slow minute of the machine, or a lucky start, is one for both.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from loadtests.bench.figures import Figure, Row
from loadtests.bench.stand import Stand
from loadtests.errors import LoadTestError


@dataclass(frozen=True)
class Checkout:
    """Another checkout of the service, with its dependencies installed."""

    program: Path
    """Its command."""
    name: str
    """The name in the report: the checkout's commit, or else its folder."""

    @classmethod
    def at(cls, directory: Path) -> Self:
        """The checkout in a directory.

        Raises:
            LoadTestError: it has no command yet.
        """
        program = directory.absolute() / ".venv" / "bin" / "afterwards"
        if not program.exists():
            raise LoadTestError(f"{program} is not there: run make install in {directory}")
        return cls(program, _commit(directory) or directory.absolute().name)


def measure(
    measurement: Callable[[Stand], Iterable[Row]], stand: Stand, checkout: Checkout
) -> Iterator[Row]:
    """The rows of a measurement, each with one more that compares it with the other checkout.

    Raises:
        LoadTestError: as the measurement; or the other checkout has other figures.
    """
    ours = replace(stand, sizes=replace(stand.sizes, rounds=1))
    theirs = replace(ours, program=checkout.program)
    seen: dict[str, list[list[Row]]] = defaultdict(list)
    for number in range(stand.sizes.rounds):
        stand.say(f"round {number + 1} of {stand.sizes.rounds}, beside {checkout.name}")
        sides = [("ours", ours), ("theirs", theirs)]
        for side, its_stand in sides if number % 2 == 0 else reversed(sides):
            seen[side].append(list(measurement(its_stand)))
    for own, other in zip(_joined(seen["ours"]), _joined(seen["theirs"]), strict=True):
        if own.name != other.name:
            raise LoadTestError(f"{checkout.name} measures {other.name!r}, this one {own.name!r}")
        if own.beside is not None:
            yield own
        yield replace(own, beside=other.ours, beside_name=checkout.name)


def _joined(rounds: Sequence[Sequence[Row]]) -> Iterator[Row]:
    """The rows of all rounds, each as one."""
    for rows in zip(*rounds, strict=True):
        others = [row.beside for row in rows if row.beside is not None]
        yield replace(
            rows[-1],
            ours=_together([row.ours for row in rows]),
            beside=_together(others) if others else None,
        )


def _together(figures: Iterable[Figure]) -> Figure:
    return Figure.of(value for figure in figures for value in figure.values)


def _commit(directory: Path) -> str:
    """The commit that is checked out, with a + if something is changed; empty: git cannot say."""
    describe = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        said = subprocess.run(describe, cwd=directory, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.stdout.strip()
