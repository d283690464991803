from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from afterwards import __version__
from afterwards.cli import main
from afterwards.cli.service_commands import HELP
from afterwards.errors import AfterwardsError, JournalError
from afterwards.setting_sources import FLAGS, variable
from afterwards.settings import Settings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings `serve` was called with, in place of a service."""
    calls: list[Settings] = []

    def serve(settings: Settings, *, watches_files: bool) -> None:
        assert not watches_files
        calls.append(settings)

    monkeypatch.setattr("afterwards.server.serve.serve", serve)
    return calls


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"afterwards {__version__}\n"


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "serve" in capsys.readouterr().out


def test_the_help_names_each_flag_its_variable_and_its_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name, flag in FLAGS.items():
        default = Settings.model_fields[name].default
        assert flag in text
        assert f"({variable(name)}; default {default})" in text


def test_every_flag_has_its_help() -> None:
    assert set(HELP) == set(FLAGS)


def test_serve_passes_its_flags_on(served: list[Settings]) -> None:
    arguments = "serve --bind [::1]:1 --workers 3 --data-dir d --output-dir o --grace 1.5"
    assert main([*arguments.split(), "--registry", "manager"]) == 0
    (settings,) = served
    assert (settings.bind, settings.workers) == ("[::1]:1", 3)
    assert (settings.data_dir, settings.output_dir) == (Path.cwd() / "d", Path.cwd() / "o")
    assert (settings.registry, settings.grace_seconds) == ("manager", 1.5)


def test_a_wrong_flag_is_one_line_and_status_2(
    served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--workers", "x"]) == 2
    assert capsys.readouterr().err == "afterwards: --workers: must be a valid integer (got 'x')\n"
    assert not served


def test_a_wrong_variable_is_one_line_and_status_2(
    served: list[Settings],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AFTERWARDS_GRACE_SECONDS", "nan")
    assert main(["serve"]) == 2
    expected = "afterwards: AFTERWARDS_GRACE_SECONDS: must be a finite number (got 'nan')\n"
    assert capsys.readouterr().err == expected


def test_a_start_that_fails_is_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Settings, *, watches_files: bool) -> None:
        raise JournalError("data/tasks.db", "not a database")

    monkeypatch.setattr("afterwards.server.serve.serve", fail)
    assert issubclass(JournalError, AfterwardsError)
    assert main(["serve"]) == 1
    expected = "afterwards: The journal data/tasks.db cannot be used: not a database\n"
    assert capsys.readouterr().err == expected


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "status"), [(["--help"], 0), ([], 0), (["serve", "--workers", "x"], 2)]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_the_status_is_right_although_nothing_can_be_written(
    arguments: list[str], status: int, unbuffered: str
) -> None:
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [sys.executable, "-m", "afterwards.cli", *arguments],
            stdout=full,
            stderr=full,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            timeout=30,
            check=False,
        )
    assert run.returncode == status


@pytest.mark.parametrize("argument", ["--work=1", "--port", "start"])
def test_what_is_no_flag_is_refused(argument: str) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["serve", argument])
    assert leaving.value.code == 2


@pytest.mark.processes
def test_importing_the_module_imports_nothing_heavy() -> None:
    # A spawned child imports the console script, and with it this module.
    script = "import sys, afterwards.cli; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(run.stdout.split())
    assert "afterwards.cli" in loaded
    assert not loaded & {"fastapi", "gunicorn", "uvicorn", "pydantic", "structlog"}
