"""One run: the chosen measurements, one after the other, and their report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from loadtests.bench import beside, report
from loadtests.bench.beside import Checkout
from loadtests.bench.figures import Row
from loadtests.bench.measurements import MEASUREMENTS, OF_THIS_PROCESS
from loadtests.bench.sizes import Sizes
from loadtests.bench.stand import Stand
from loadtests.errors import LoadTestError


def run(
    only: Sequence[str],
    sizes: Sizes,
    directory: Path,
    output: Path,
    say: Callable[[str], None],
    *,
    checkout: Checkout | None = None,
) -> tuple[str, tuple[Path, ...]]:
    """Measure and report.

    Args:
        only: keys of `MEASUREMENTS`.
        sizes: how large.
        directory: where the servers have their data; on the disk that is to be measured.
        output: where the report goes.
        say: told what happens next.
        checkout: another one, to be measured beside.

    Returns:
        The table, and the files written.

    Raises:
        LoadTestError: a measurement is unknown, or did not measure what it says.
    """
    unknown = set(only) - set(MEASUREMENTS)
    if unknown:
        names = ", ".join(MEASUREMENTS)
        raise LoadTestError(f"no such measurement: {', '.join(sorted(unknown))}; there are {names}")
    machine = report.Machine.here(directory)
    stand = Stand(sizes, directory, say)
    rows: list[Row] = []
    for name, measurement in MEASUREMENTS.items():
        if name not in only:
            continue
        if checkout is None or name in OF_THIS_PROCESS:
            rows += measurement(stand)
        else:
            rows += beside.measure(measurement, stand, checkout)
    text = report.table(machine, sizes, rows)
    files = report.write(
        output,
        txt=text,
        json=report.document(machine, sizes, rows),
        svg=report.picture(machine, sizes, rows),
    )
    return text, files
