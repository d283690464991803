"""The command that downloads files of tasks, before a service that answers as a test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from afterwards.cli import main
from tests.client.conftest import Handler
from tests.client.documents import ID, problem
from tests.client.test_artifacts import CONTENT, REPORT, listed, sent


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_written_and_its_path_printed(
    service: Handler, out: Callable[[], str], here: Path
) -> None:
    for _ in range(2):
        listed(service)
    sent(service, CONTENT)
    assert main(["download", ID, "report ü.csv"]) == 0
    assert (here / "report ü.csv").read_bytes() == CONTENT
    assert out() == "report ü.csv: report ü.csv\n"


def test_without_a_name_all_files_are_downloaded(
    service: Handler, out: Callable[[], str], here: Path
) -> None:
    both = [REPORT, {**REPORT, "name": "b.csv"}]
    for _ in range(2):
        listed(service, *both)
    sent(service, CONTENT)
    listed(service, *both)
    sent(service, CONTENT)
    assert main(["download", ID, "--to", "new", "--json"]) == 0
    assert (here / "new" / "b.csv").read_bytes() == CONTENT
    first = json.loads(out().splitlines()[0])
    assert first == {**REPORT, "path": str(Path("new", "report ü.csv"))}


def test_a_task_without_files_says_so(service: Handler, capsys: pytest.CaptureFixture[str]) -> None:
    service.answer(200, {"artifacts": []})
    assert main(["download", ID]) == 0
    assert capsys.readouterr().err == "afterwards: the task has no files\n"


def test_what_goes_wrong_is_one_line(
    service: Handler, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    service.answer(404, problem(404))
    assert main(["download", ID, "report ü.csv"]) == 1
    for _ in range(2):
        listed(service)
    assert main(["download", ID, "other.csv"]) == 1
    for _ in range(2):
        listed(service)
    assert main(["download", ID, "report ü.csv", "--to", str(here / "absent" / "x")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "has no artifact" in lines[1]
    assert "No such file or directory" in lines[2]
