"""The number of files that a process may have open, and the share of connections."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from afterwards.errors import ConfigurationError
from afterwards.server.descriptors import connections_that_fit
from afterwards.settings import Settings


@pytest.mark.processes
def test_the_soft_limit_is_raised_to_the_hard_one_and_said() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128));"
        "from afterwards.logs import configure; configure('info', 'json');"
        "from afterwards.server.descriptors import raise_limit;"
        "assert raise_limit() == 128;"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (128, 128);"
        "assert raise_limit() == 128"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert said.count("raised the limit of open files") == 1
    assert '"hard": 128' in said


def settings(**values: int) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[arg-type] # of numbers only


@pytest.mark.parametrize("limit", [20_000, resource.RLIM_INFINITY])
def test_where_there_is_room_connections_are_as_many_as_the_setting_says(limit: int) -> None:
    assert connections_that_fit(settings(), limit) == 4_096
    assert connections_that_fit(settings(max_connections=7), limit) == 7


def test_the_service_s_own_files_and_its_attempts_come_before_connections() -> None:
    at_most = connections_that_fit(settings(), 1_024)
    assert 700 < at_most < 1_024 - 64
    assert connections_that_fit(settings(process_slots=14), 1_024) == at_most - 40


@pytest.mark.parametrize("limit", [64, 100, 180])
def test_some_connections_there_are_however_low_the_limit(limit: int) -> None:
    assert connections_that_fit(settings(), limit) == limit // 4


@pytest.mark.parametrize("limit", [16, 63])
def test_a_limit_that_a_worker_cannot_live_with_is_refused(limit: int) -> None:
    with pytest.raises(ConfigurationError, match=f"ulimit -n: {limit} open files are too few"):
        connections_that_fit(settings(), limit)


@pytest.mark.processes
def test_a_start_with_too_few_open_files_is_one_line_and_status_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "afterwards.cli", "serve", "--bind", "127.0.0.1:0"]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)),
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "ulimit -n: 40 open files are too few" in line
