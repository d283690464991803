"""The report: a table and a picture for people, JSON for programs, all of the same rows."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from loadtests.bench import disk
from loadtests.bench.bars import bars
from loadtests.bench.figures import Figure, Row
from loadtests.bench.sizes import Sizes

_PACKAGES: Final = ("afterwards", "fastapi", "gunicorn", "uvicorn", "uvloop", "pydantic")
_HEAD: Final = ("measured", "unit", "median (min..max)", "beside", "median (min..max)", "ratio")


@dataclass(frozen=True)
class Machine:
    """The machine, on which the figures depend besides the code."""

    cpus: int
    cpu: str
    load_average: float
    """The load of the last minute before the run: other work makes every figure worse."""
    python: str
    packages: dict[str, str]
    file_system: str
    sync_p50_ms: float
    sync_p99_ms: float

    @classmethod
    def here(cls, directory: Path) -> Machine:
        """This machine, and the disk that the directory is on."""
        p50, p99 = disk.sync_milliseconds(directory)
        return cls(
            cpus=len(os.sched_getaffinity(0)),
            cpu=_cpu(),
            load_average=os.getloadavg()[0],
            python=platform.python_version(),
            packages={name: version(name) for name in _PACKAGES},
            file_system=disk.file_system(directory),
            sync_p50_ms=p50,
            sync_p99_ms=p99,
        )


def table(machine: Machine, sizes: Sizes, rows: Sequence[Row]) -> str:
    """All of it as text."""
    lines = [_HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [*_preamble(machine, sizes), ""]
    for cells, row in zip(lines, [None, *rows], strict=True):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        text.append("  ".join(padded).rstrip())
        if row is not None:
            text += [f"    {line}" for line in (row.note, _durability(row)) if line]
    return "\n".join(text) + "\n"


def document(machine: Machine, sizes: Sizes, rows: Iterable[Row]) -> str:
    """All of it as JSON, with the values of each round."""
    content = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(machine),
        "sizes": asdict(sizes),
        "rows": [
            {
                "measurement": row.measurement,
                "name": row.name,
                "unit": row.unit,
                "ours": _figure(row.ours),
                "beside": None if row.beside is None else _figure(row.beside),
                "beside_name": row.beside_name,
                "ratio": None if row.ratio is None else _figure(row.ratio),
                "durable": row.durable,
                "note": row.note,
            }
            for row in rows
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def picture(machine: Machine, sizes: Sizes, rows: Iterable[Row]) -> str:
    """The rows that have another one beside them, as bars (SVG)."""
    title = (
        f"{machine.cpus} CPUs ({machine.cpu}), Python {machine.python}, {sizes.workers} web "
        f"worker(s), {sizes.rounds} rounds of {sizes.seconds} s; medians, and the least and the "
        "greatest round"
    )
    return bars(title, rows)


def write(directory: Path, **contents: str) -> tuple[Path, ...]:
    """Files named by the time, one for each kind: `txt`, `json`, `svg`."""
    stem = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    files = tuple(directory / f"{stem}.{kind}" for kind in contents)
    for file, content in zip(files, contents.values(), strict=True):
        file.write_text(content)
    return files


def _preamble(machine: Machine, sizes: Sizes) -> list[str]:
    packages = ", ".join(f"{name} {number}" for name, number in machine.packages.items())
    syncs = f"p50 {machine.sync_p50_ms:.3f} ms, p99 {machine.sync_p99_ms:.3f} ms"
    lines = [
        f"{machine.cpus} CPUs ({machine.cpu}), load average before {machine.load_average:.1f}",
        f"Python {machine.python}, {packages}",
        f"{sizes.workers} web worker(s), {sizes.rounds} rounds of {sizes.seconds} s",
        f"fdatasync of a page on {machine.file_system}: {syncs}",
    ]
    if disk.is_volatile(machine.file_system):
        lines.append("WARNING: that is no disk; a sync means nothing here, and costs nothing.")
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    ratio = row.ratio
    return (
        row.name,
        row.unit,
        _text(row.ours),
        row.beside_name,
        "" if row.beside is None else _text(row.beside),
        "" if ratio is None else _text(ratio),
    )


def _durability(row: Row) -> str:
    return f"durable: {row.durable}" if row.durable else "nothing is stored"


def _text(figure: Figure) -> str:
    return f"{_number(figure.median)} ({_number(figure.low)}..{_number(figure.high)})"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "median": figure.median,
        "min": figure.low,
        "max": figure.high,
        "rounds": list(figure.values),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
