"""Recorded modules are imported elsewhere, whatever has become of their files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from afterwards.errors import ConfigurationError
from afterwards.task_types.described import described
from afterwards.task_types.snapshot import VARIABLE, CodeFile

pytestmark = pytest.mark.processes

TASKS = """
from pathlib import Path
from pydantic import BaseModel
from afterwards import TaskType
from kept_shop import prices

class Job(BaseModel):
    pass

async def run(payload, context):
    from kept_shop import later
    return {"price": prices.PRICE, "later": later.VALUE}

OWN = TaskType("own", Job, run)
"""
USE = """
import asyncio, sys
sys.path.append(".")
from afterwards.task_types.modules import load_catalogue
task_type = load_catalogue(("kept_shop.tasks",))["own"]
import os
print(asyncio.run(task_type.run(None, None)), "_TASK_CODE" in os.environ)
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "kept_shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tasks.py").write_text(TASKS)
    (package / "prices.py").write_text("PRICE = 1\n")
    (package / "later.py").write_text("VALUE = 'as it was'\n")
    monkeypatch.chdir(tmp_path)
    return package


def used(code: CodeFile | None) -> str:
    environment = {**os.environ, **({} if code is None else code.environment)}
    run = subprocess.run(
        [sys.executable, "-P", "-c", USE],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def test_code_is_what_was_described_and_not_what_is_on_the_disk(shop: Path) -> None:
    found = described(("kept_shop.tasks",))
    assert "own" in found.catalogue
    code = CodeFile(found.code)
    try:
        (shop / "prices.py").write_text("PRICE = (")
        (shop / "tasks.py").unlink()
        (shop / "later.py").write_text("VALUE = 'as it is'\n")
        # What was not imported then is not kept.
        assert used(code) == "{'price': 1, 'later': 'as it is'} False"
        with pytest.raises(ConfigurationError):
            described(("kept_shop.tasks",))
    finally:
        code.close()


@pytest.mark.usefixtures("shop")
def test_the_disk_does_where_there_is_no_code_for_this_python() -> None:
    for data in (b"", b"another version of Python"):
        code = CodeFile(data)
        try:
            assert used(code) == "{'price': 1, 'later': 'as it was'} False"
        finally:
            code.close()


@pytest.mark.usefixtures("shop")
def test_the_disk_does_where_the_file_is_not_to_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/proc/1/fd/12345")
    assert used(None) == "{'price': 1, 'later': 'as it was'} False"
