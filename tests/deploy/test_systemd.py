"""The systemd unit."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from afterwards.registry.process.pulse import FIRST_SECONDS, SILENT_SECONDS
from afterwards.setting_sources import variable
from afterwards.settings import Settings
from tests.deploy.files import COMPOSE, DEPLOY, ROOT

UNIT = DEPLOY / "afterwards.service"
SOCKET = DEPLOY / "afterwards.socket"
TEXT = UNIT.read_text()
ANALYZE = shutil.which("systemd-analyze")

needs_systemd_analyze = pytest.mark.skipif(
    ANALYZE is None, reason="systemd-analyze is not there; it comes with systemd"
)


def analyze(*arguments: str) -> tuple[int, str]:
    run = subprocess.run(
        [str(ANALYZE), *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    return run.returncode, run.stdout + run.stderr


@needs_systemd_analyze
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    # It looks for the program, too, which is not installed here.
    unit = tmp_path / UNIT.name
    program = r"^(ExecStart|ExecReload)=\S+"
    unit.write_text(re.sub(program, r"\1=/bin/true", TEXT, flags=re.MULTILINE))
    socket = shutil.copy(SOCKET, tmp_path)
    assert analyze("verify", str(unit), str(socket)) == (0, "")


@needs_systemd_analyze
def test_the_service_is_exposed_by_at_most_1_2_of_10() -> None:
    status, said = analyze("security", "--offline=true", "--threshold=12", str(UNIT))
    assert status == 0, said[-200:]
    assert "exposure is 1.2 of 10" in (ROOT / "docs" / "security.md").read_text()


def test_a_registry_that_is_replaced_does_not_have_the_service_restarted() -> None:
    watchdog = re.search(r"^WatchdogSec=(\d+)$", TEXT, re.MULTILINE)
    assert watchdog is not None
    assert int(watchdog[1]) > SILENT_SECONDS + FIRST_SECONDS


def test_it_may_use_as_much_memory_as_the_container() -> None:
    [memory] = re.findall(r"^MemoryMax=(.*)$", TEXT, re.MULTILINE)
    assert f"API_MEMORY:-{memory.lower()}" in COMPOSE.read_text()


def test_it_is_waited_for_longer_than_it_may_take_to_stop() -> None:
    wait = re.search(r"^TimeoutStopSec=(\d+)$", TEXT, re.MULTILINE)
    assert wait is not None
    assert int(wait[1]) > Settings.model_fields["grace_seconds"].default + 25


def test_its_socket_is_where_the_service_listens_by_itself() -> None:
    listen = re.findall(r"^ListenStream=(.*)$", SOCKET.read_text(), re.MULTILINE)
    assert listen == [Settings.model_fields["bind"].default]


def test_it_sets_only_settings_that_exist() -> None:
    names = set(re.findall(r"^Environment=(\w+)=", TEXT, re.MULTILINE))
    assert names
    assert names <= {variable(name) for name in Settings.model_fields}


def test_a_reload_can_see_the_service() -> None:
    # In a user namespace of its own, `afterwards reload` finds no process that ProtectProc hides.
    assert re.search(r"^ExecReload=\S+ reload$", TEXT, re.MULTILINE)
    assert not re.search(r"^PrivateUsers=", TEXT, re.MULTILINE)
