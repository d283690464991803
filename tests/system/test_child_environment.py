"""The environment of task code: its own settings, and none of the service's."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterwards.setting_sources import ENV_FILE
from afterwards.settings import Settings
from afterwards.system.child_environment import child_environment


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", ENV_FILE)
    return tmp_path


def test_what_is_in_the_file_reaches_task_code_and_the_environment_goes_first(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / ".env").write_text("SHOP_BANK=file\nSHOP_TILL='two words'\nSHOP_EMPTY\n")
    monkeypatch.setenv("SHOP_BANK", "environment")
    found = child_environment()
    assert (found["SHOP_BANK"], found["SHOP_TILL"]) == ("environment", "two words")
    assert "SHOP_EMPTY" not in found


def test_no_setting_of_the_service_reaches_task_code(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / ".env").write_text("AFTERWARDS_BIND=127.0.0.1:1\nafterwards_workers=2\n")
    monkeypatch.setenv("AFTERWARDS_DATA_DIR", "/secret")
    assert [name for name in child_environment() if name.upper().startswith("AFTERWARDS")] == []


def test_without_a_file_it_is_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_BANK", "environment")
    assert child_environment()["SHOP_BANK"] == "environment"
