from __future__ import annotations

import os
from pathlib import Path

import pytest
import structlog

from afterwards.server import sources
from afterwards.server.sources import Sources


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a package, a module, an environment, and another project beside it."""
    project = tmp_path / "project"
    for path in (
        "shop/__init__.py",
        "shop/tasks.py",
        "single.py",
        ".venv/pyvenv.cfg",
        "env/pyvenv.cfg",
    ):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).touch()
    monkeypatch.chdir(project)
    return project


@pytest.mark.parametrize("module", ["shop.tasks", "shop", "single"])
@pytest.mark.parametrize("path", ["shop/tasks.py", "single.py", "shop/new.py", "other/new.py"])
def test_a_file_beside_or_below_the_module_counts(shop: Path, module: str, path: str) -> None:
    sources = Sources([module])
    assert not sources.have_changed()
    (shop / path).parent.mkdir(exist_ok=True)
    (shop / path).write_text("changed = True")
    assert sources.have_changed()
    assert not sources.have_changed()
    (shop / path).unlink()
    assert sources.have_changed()


def test_an_edit_of_the_same_size_and_time_counts(shop: Path) -> None:
    file = shop / "single.py"
    sources = Sources(["single"])
    before = file.stat()
    file.write_text("")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sources.have_changed()


@pytest.mark.parametrize(
    "path", [".venv/new.py", "env/new.py", "__pycache__/new.py", "shop/notes.txt", "../new.py"]
)
def test_other_files_do_not_count(shop: Path, path: str) -> None:
    (shop / "__pycache__").mkdir()
    sources = Sources(["shop.tasks"])
    (shop / path).write_text("changed = True")
    assert not sources.have_changed()


def test_files_that_are_named_count_once_they_are_there(shop: Path) -> None:
    sources = Sources(["nowhere"], [shop / ".env"])
    (shop / ".env").write_text("A=1")
    assert sources.have_changed()


def test_no_more_files_are_looked_at_than_that_costs_nothing(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del shop
    monkeypatch.setattr(sources, "MOST_FILES", 2)
    with structlog.testing.capture_logs() as logged:
        assert not Sources(["single"]).have_changed()
    assert len(logged) == 1
