"""Starts in surroundings that are not as they should be: one line and status 2, or no matter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from afterwards.errors import ConfigurationError
from afterwards.server.surroundings import require_own_surroundings
from afterwards.settings import Settings
from afterwards.system.directories import require_temporary_directory
from tests.integration.conftest import AFTERWARDS, Service, wait_for

START = "import os, sys; sys.stdin.readline(); os.execv(sys.argv[1], sys.argv[1:])"
LEAVING = """
import os
from pydantic import BaseModel
from afterwards import TaskType

class Nothing(BaseModel):
    pass

async def run(payload, context):
    return {{}}

OWN = TaskType("own", Nothing, run)
os.chdir({elsewhere!r})
"""


def problem_of(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        require_own_surroundings()
    return str(caught.value)


@pytest.mark.parametrize("name", ["GUNICORN_CMD_ARGS", "GUNICORN_PID", "GUNICORN_FD"])
def test_gunicorn_s_own_variables_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    problem = f"{name}: gunicorn's own settings are not the service's; unset it"
    assert problem_of(monkeypatch, **{name: "1"}) == problem


def test_a_number_of_workers_that_gunicorn_cannot_read_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "WEB_CONCURRENCY: must be a number (got 'x')" in problem_of(
        monkeypatch, WEB_CONCURRENCY="x"
    )


def test_a_number_of_workers_that_a_platform_sets_is_let_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    require_own_surroundings()
    assert os.environ["WEB_CONCURRENCY"] == "3"


# -- the command ----------------------------------------------------------------------------------


def no_directory(here: Path) -> None:
    here.rmdir()


def env_is_a_directory(here: Path) -> None:
    (here / ".env").mkdir()


def env_is_not_text(here: Path) -> None:
    (here / ".env").write_bytes(b"A=\xff\n")


def env_is_not_readable(here: Path) -> None:
    if os.geteuid() != 0:
        (here / ".env").touch(mode=0o000)
        return
    # root reads everything; a link that leads in a circle it cannot follow either.
    (here / ".env").symlink_to(here / ".env")


def nothing(here: Path) -> None:
    pass


@pytest.mark.processes
@pytest.mark.parametrize(
    ("spoil", "variables", "arguments", "problem"),
    [
        (no_directory, {}, [], "working directory: No such file or directory; change to one"),
        (env_is_a_directory, {}, [], ".env: cannot be read: Is a directory; repair it"),
        (env_is_not_text, {}, [], ".env: must be text in UTF-8"),
        (env_is_not_readable, {}, [], ".env: cannot be read: "),
        (nothing, {"GUNICORN_CMD_ARGS": "--workers 9"}, [], "GUNICORN_CMD_ARGS: gunicorn's own"),
        (nothing, {"GUNICORN_PID": "1"}, [], "GUNICORN_PID: gunicorn's own"),
        (nothing, {"WEB_CONCURRENCY": "x"}, [], "WEB_CONCURRENCY: must be a number"),
        (nothing, {}, [b"--output-dir", b"\xff"], "--output-dir: '/"),
        (nothing, {}, [b"--grace", b"\xff"], "--grace: must be"),
    ],
)
def test_a_start_that_cannot_be_is_one_line_and_status_2(
    tmp_path: Path,
    spoil: Callable[[Path], None],
    variables: Mapping[str, str],
    arguments: list[bytes],
    problem: str,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    # It is in there before that is spoilt.
    with subprocess.Popen(
        [sys.executable, "-c", START, AFTERWARDS, "serve", *arguments],
        cwd=here,
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        spoil(here)
        out, err = process.communicate(b"go\n", 30)
    assert (process.returncode, out) == (2, b"")
    assert err.decode().startswith(f"afterwards: {problem}")
    assert err.count(b"\n") == 1


@pytest.mark.processes
def test_a_service_works_in_a_directory_that_is_not_text_and_is_left_by_a_module(
    tmp_path: Path,
) -> None:
    # And under a TMPDIR that has too long a path for sockets, and is relative.
    here = tmp_path / os.fsdecode(b"\xff")
    elsewhere = tmp_path / "elsewhere"
    temporary = here / ("t" * 90)
    for directory in (here, elsewhere, temporary):
        directory.mkdir()
    (here / "leaving.py").write_text(LEAVING.format(elsewhere=str(elsewhere)))
    service = Service(
        tmp_path, data_dir="data", output_dir=str(tmp_path / "outputs"), task_modules="leaving"
    )
    service.directory, service.data_dir = here, here / "data"
    service.set_plain(TMPDIR=temporary.name)
    service.start()
    try:
        written = service.finished(service.submit("/file/", {"content": {"a": 1}}))
        assert written["status"] == "success", written
        assert service.data_dir.is_dir()
        assert list(elsewhere.iterdir()) == []
        assert service.stop() == 0
    finally:
        # `Service` knows its processes by what is in their environment.
        service.data_dir = Path("data")
        wait_for(lambda: not service.processes(), "no process left behind")


def test_no_directory_for_temporary_files_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(ConfigurationError, match=r"^TMPDIR: no directory for temporary files"):
        require_temporary_directory()


def test_paths_are_absolute_once_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(bind="unix:s", data_dir="d", output_dir="o")
    assert (settings.bind, settings.data_dir, settings.output_dir) == (
        f"unix:{tmp_path}/s",
        tmp_path / "d",
        tmp_path / "o",
    )
