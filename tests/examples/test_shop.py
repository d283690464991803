"""`make example`: the shop with everything around it, from its start to its end."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import expect

from examples.shop.demonstration.expected import OUTSIDE, TASKS
from loadtests.browser import CHROMIUM, MISSING, chromium
from tests.integration.conftest import MARK, wait_for

ROOT: Final = Path(__file__).parents[2]
SHOP: Final = ROOT / "examples" / "shop"
README: Final = (SHOP / "README.md").read_text()
# A run takes a quarter of a minute, and on a busy machine several times that.
pytestmark = pytest.mark.timeout(400)

# The environment of the tests is there already.
MAKE: Final = ("make", "--no-print-directory", "-o", ".venv/development.stamp", "example")
NUMBER_OF_TASKS: Final = sum(sum(states.values()) for states in TASKS.values())
ALL_IS_WELL: Final = f"All has happened, and once: {NUMBER_OF_TASKS} tasks, {OUTSIDE}"
RESTARTED: Final = "service | has ended with status -9, and is started again"


class Example:
    """A run of `make example`, with its temporary files in a folder of its own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.lines: list[str] = []
        others = {name: value for name, value in os.environ.items() if "AFTERWARDS" not in name}
        self.make = subprocess.Popen(
            [*MAKE, *arguments],
            cwd=ROOT,
            env={**others, "TMPDIR": str(home), MARK: str(home)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def read_until(self, text: str) -> re.Match[str]:
        """Read lines up to one with this pattern."""
        assert self.make.stdout is not None
        for line in self.make.stdout:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(text, line):
                return found
        pytest.fail(f"it ended before {text!r}: {self.lines}")

    def end(self) -> int:
        """Read what is left, and give the exit status."""
        assert self.make.stdout is not None
        self.lines += self.make.stdout.read().splitlines()
        return self.make.wait()

    def interrupt(self, number: signal.Signals) -> None:
        """Send a signal as a terminal does, to all processes of the foreground."""
        os.killpg(self.make.pid, number)
        self.end()

    def processes(self) -> Mapping[int, str]:
        """All living processes of this run, with their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if f"{MARK}={self.home}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_text()
            except (OSError, ValueError):
                continue
        return found


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[Example]:
    example = Example(home, *arguments)
    try:
        yield example
        assert wait_for(lambda: not example.processes(), "no process left behind")
        assert list(home.iterdir()) == []
    finally:
        for pid in example.processes():
            os.kill(pid, signal.SIGKILL)
        with example.make:
            pass  # Its pipe is closed, and its end is waited for.


def test_everything_happens_once_and_nothing_is_left(tmp_path: Path) -> None:
    with running(tmp_path, "ONCE=1") as example:
        assert example.end() == 0
    assert any(ALL_IS_WELL in line for line in example.lines), example.lines


@pytest.mark.thorough
def test_everything_happens_once_although_the_service_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, "ONCE=1") as example:
        pid = int(example.read_until(r"The service is process (\d+)")[1])
        example.read_until("june.csv is under way")
        os.kill(pid, signal.SIGKILL)
        pid = int(example.read_until(re.escape(RESTARTED) + r" as process (\d+)")[1])
        example.read_until("cem has order")
        # With its workers and its registry.
        os.killpg(pid, signal.SIGKILL)
        assert example.end() == 0
    assert sum(RESTARTED in line for line in example.lines) == 2
    assert any(ALL_IS_WELL in line for line in example.lines), example.lines


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    with running(tmp_path) as example:
        example.read_until("june.csv is under way")
        example.interrupt(signal.SIGINT)
    assert "Everything is ended" in example.lines[-1]


@pytest.mark.thorough
@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_a_page_shows_how_far_the_statements_are_until_the_shop_is_ended(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as example, chromium() as browser:
        window = browser.new_page(base_url=example.read_until(r"The shop: (http\S+)/docs")[1])
        window.goto(example.read_until(r"the owner opens (\S+);")[1])
        status = window.get_by_role("status")
        expect(status).to_have_text("24 of 24 statements; totals: success", timeout=20_000)
        assert window.get_by_role("progressbar").evaluate("bar => bar.value / bar.max") == 1
        example.read_until("Look around")
        example.interrupt(signal.SIGTERM)
    assert any(ALL_IS_WELL in line for line in example.lines), example.lines


# -- README.md -------------------------------------------------------------------------------------


def names_of(module: Path) -> set[str]:
    """The functions, classes, methods and constants of a module."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def test_each_place_of_the_table_of_features_is_there() -> None:
    places = re.findall(r"`([\w/]+\.py):(\w+)`", README)
    assert len(places) > 20
    assert [place for place in places if place[1] not in names_of(SHOP / place[0])] == []


def test_each_file_is_explained() -> None:
    named = set(re.findall(r"\]\(([\w.]+)\)", README))
    there = {path.name for path in SHOP.iterdir() if not path.name.startswith("__")}
    assert there - {"README.md"} == named


def test_the_shop_has_ten_task_types() -> None:
    tasks = [(SHOP / f"{name}_tasks.py").read_text() for name in ("order", "catalogue")]
    names = {name for text in tasks for name in re.findall(r'TaskType\(\s*"(shop\.\w+)"', text)}
    assert names == {name for name in TASKS if name.startswith("shop.")}
    assert len(names) == 10
