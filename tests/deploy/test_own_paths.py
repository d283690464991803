"""The systemd unit with the user and the paths of the drop-in in `docs/deployment.md`."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.files import ROOT
from tests.deploy.test_systemd import UNIT, analyze, needs_systemd_analyze
from tests.integration.conftest import Service

PAGE = (ROOT / "docs" / "deployment.md").read_text()
FILE = re.compile(
    r"^`/etc/systemd/system/(?P<path>.+)`:\n\n```ini\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
HOME = "/srv/shop"


class Placed:
    """The unit and its drop-in, with everything of theirs below a directory of the test."""

    def __init__(self, directory: Path) -> None:
        found = FILE.search(PAGE)
        assert found is not None
        self.home = directory / "shop"
        for folder in ("data", "outputs", "venv/bin"):
            (self.home / folder).mkdir(parents=True)
        program = Path(sys.executable).with_name("afterwards")
        (self.home / "venv" / "bin" / "afterwards").symlink_to(program)
        self.unit = Path(shutil.copy(UNIT, directory))
        self.drop_in = directory / found["path"]
        self.drop_in.parent.mkdir()
        self.drop_in.write_text(found["text"].replace(HOME, str(self.home)))

    def values(self, name: str) -> list[str]:
        """The values of a setting: those of the unit first; an empty one takes them away."""
        text = f"{self.unit.read_text()}\n{self.drop_in.read_text()}"
        values: list[str] = []
        for value in re.findall(rf"^{name}=(.*)$", text, re.MULTILINE):
            values = [*values, value] if value else []
        return values


@pytest.fixture
def placed(tmp_path: Path) -> Placed:
    return Placed(tmp_path)


@needs_systemd_analyze
def test_systemd_understands_it_and_finds_no_other_program(placed: Placed) -> None:
    assert analyze("verify", str(placed.unit)) == (0, "")
    placed.drop_in.write_text(placed.drop_in.read_text().replace("ExecReload=\n", ""))
    _, said = analyze("verify", str(placed.unit))
    assert "/opt/afterwards/bin/afterwards is not executable" in said


@needs_systemd_analyze
def test_it_is_no_more_exposed_than_the_unit(placed: Placed) -> None:
    status, said = analyze("security", "--offline=true", "--threshold=12", str(placed.unit))
    assert status == 0, said[-200:]


def test_it_may_write_where_it_is_told_to_and_nowhere_else(placed: Placed) -> None:
    folders = [f"{placed.home}/data", f"{placed.home}/outputs"]
    assert [word for line in placed.values("ReadWritePaths") for word in line.split()] == folders
    assert placed.values("StateDirectory") == []
    assert placed.values("ProtectSystem") == ["strict"]


@pytest.fixture
def service(placed: Placed, tmp_path: Path) -> Iterator[Service]:
    """The service as the unit starts it, without systemd."""
    service = Service(tmp_path)
    [command] = placed.values("ExecStart")
    service.command = tuple(command.split())
    # There is one of it, and the last one counts.
    service.directory = Path(placed.values("WorkingDirectory")[-1])
    service.set_plain(**dict(line.split("=", 1) for line in placed.values("Environment")))
    try:
        service.start()
        yield service
    finally:
        service.kill_everything()
        service.client.close()


@pytest.mark.processes
def test_the_journal_and_the_files_of_tasks_are_there(placed: Placed, service: Service) -> None:
    task_id = service.post("/file/", {"content": {"a": 1}}).json()["task_id"]
    assert service.get(f"/tasks/{task_id}?wait=20").json()["status"] == "success"
    assert (placed.home / "data" / "journal.sqlite3").exists()
    assert [path.stem for path in (placed.home / "outputs").iterdir()] == [task_id]
    assert {path.name for path in placed.home.iterdir()} == {"data", "outputs", "venv"}
