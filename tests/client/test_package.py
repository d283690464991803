"""The client is a distribution of its own."""

from __future__ import annotations

import ast
import sys
from importlib import metadata
from pathlib import Path

import pytest

import afterwards_client
from afterwards import __version__

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "python" / "afterwards_client"
ALLOWED = {"afterwards_client", "httpx", "anyio", *sys.stdlib_module_names}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_it_needs_httpx_and_nothing_of_the_service(path: Path) -> None:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    assert {name.split(".")[0] for name in found} <= ALLOWED


@pytest.mark.parametrize(
    "name",
    [
        "retries",
        "calls",
        "requests",
        "flows",
        "subscription",
        "event_stream",
        "selection",
        "listing",
        "pages",
        "schedules",
        "task_types",
        "statistics",
        "live_statistics",
        "workers",
        "error_groups",
        "activity",
        "bulk",
        "groups",
    ],
)
def test_its_logic_does_no_io(name: str) -> None:
    text = (PACKAGE / f"{name}.py").read_text()
    assert not [word for word in ("sleep(", ".send(", "await ", "httpx.Client") if word in text]


def test_it_has_the_service_s_version() -> None:
    assert afterwards_client.__version__ == __version__ == metadata.version("afterwards-client")


def test_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
