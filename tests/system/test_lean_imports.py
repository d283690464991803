"""Imports, in processes of their own: here everything is imported already."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

OF_THE_REGISTRY = tuple(f"afterwards.registry.{room}" for room in ("engine", "journal", "state"))
STORY = """
import sys
from afterwards.system.lean_imports import import_structlog_alone
import_structlog_alone()
assert "structlog" in sys.modules and not [name for name in sys.modules if name.startswith("rich")]
import rich
import_structlog_alone()
assert sys.modules["rich"] is rich
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_rich_can_be_imported_after_structlog_was_imported_alone() -> None:
    story = run("-c", STORY)
    assert (story.returncode, story.stderr) == (0, "")


# Each ends where it reads its arguments, which are wrong.
@pytest.mark.parametrize(
    "command", ["afterwards.cli serve --bind x", "afterwards.registry.process"]
)
def test_the_service_s_processes_do_not_import_rich(command: str) -> None:
    imports = run("-X", "importtime", "-m", *command.split()).stderr
    assert "structlog.dev" in imports
    assert "rich.console" not in imports


def test_master_and_workers_do_not_import_the_registry_s_own_rooms() -> None:
    modules = "afterwards.server.serve afterwards.main afterwards.registry.process.supervised"
    story = f"import sys\nfor name in {modules.split()}: __import__(name)\nprint(*sys.modules)"
    imported = run("-c", story).stdout.split()
    assert set(modules.split()) <= set(imported)
    assert not [name for name in imported if name.startswith(OF_THE_REGISTRY)]
