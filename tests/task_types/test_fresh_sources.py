"""Imports in fresh interpreters, as hosts do them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from afterwards.task_types import fresh_sources

pytestmark = pytest.mark.processes

IMPORT = """
import runpy, sys
if sys.argv[1] != "plain":
    module = runpy.run_path(sys.argv[2])
    module["_is_settled"].__globals__["SETTLED_SECONDS"] = float(sys.argv[1])
    module["distrust_young_bytecode"]()
sys.path.append(".")
import own
print(own.VALUE)
"""


def imported(directory: Path, how: str = "2") -> str:
    """The value that an interpreter sees: a plain one, or one that is told what is settled."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    run = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT, how, fresh_sources.__file__],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def write(directory: Path, value: int, at: float) -> Path:
    """Write the module as the program of a deployment would that keeps times of change."""
    path = directory / "own.py"
    path.write_text(f"VALUE = {value}\n")
    os.utime(path, (at, at))
    return path


def bytecode(directory: Path) -> list[Path]:
    return list((directory / "__pycache__").glob("own.*"))


@pytest.mark.parametrize("age", [0, 3600])
def test_two_edits_of_the_same_time_and_size_are_two(tmp_path: Path, age: int) -> None:
    at = time.time() - age
    write(tmp_path, 1, at)
    assert imported(tmp_path, "plain") == "1"
    write(tmp_path, 2, at)
    # What Python does by itself; if it does better one day, this module can go.
    assert imported(tmp_path, "plain") == "1"
    assert imported(tmp_path) == "2"


def test_no_bytecode_is_written_of_what_has_just_been_changed(tmp_path: Path) -> None:
    write(tmp_path, 1, time.time() - 3600)
    assert imported(tmp_path) == "1"
    assert bytecode(tmp_path) == []


def test_bytecode_of_a_settled_source_is_written_and_used(tmp_path: Path) -> None:
    source = write(tmp_path, 1, time.time())
    assert imported(tmp_path, "plain") == "1"
    (doubtful,) = bytecode(tmp_path)
    os.utime(doubtful, (0, 0))
    # It takes an interpreter longer to start.
    assert imported(tmp_path, "0.01") == "1"
    assert bytecode(tmp_path) == [doubtful]
    written = doubtful.stat().st_mtime_ns
    assert written > source.stat().st_ctime_ns
    assert imported(tmp_path, "0.01") == "1"
    assert doubtful.stat().st_mtime_ns == written
