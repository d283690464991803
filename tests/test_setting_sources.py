"""The place that a setting comes from, and the name that a mistake in it is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterwards.errors import ConfigurationError
from afterwards.setting_sources import FLAGS
from afterwards.settings import Settings, unknown_variables


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    return tmp_path / ".env"


def problem(**flags: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(**flags)
    return str(caught.value)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text("AFTERWARDS_WORKERS=3\n")
    assert Settings.load().workers == 3
    monkeypatch.setenv("AFTERWARDS_WORKERS", "4")
    assert Settings.load().workers == 4
    assert Settings.load(workers="5").workers == 5


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_WORKERS", "")
    assert Settings.load().workers == 2


def test_a_file_that_is_not_text_is_named(env_file: Path) -> None:
    env_file.write_bytes(b"AFTERWARDS_WORKERS=\xff\xfe\n")
    assert problem() == ".env: must be text in UTF-8"


def test_port_binds_all_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    settings = Settings.load()
    assert (settings.bind, settings.name_of("bind")) == ("0.0.0.0:9000", "PORT")


def test_port_yields_to_an_address_however_that_is_given(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "9000")
    env_file.write_text("AFTERWARDS_BIND=[::1]:1\n")
    settings = Settings.load()
    assert (settings.bind, settings.name_of("bind")) == ("[::1]:1", "AFTERWARDS_BIND")
    settings = Settings.load(bind="localhost:2")
    assert (settings.bind, settings.name_of("bind")) == ("localhost:2", "--bind")


def test_a_port_that_is_none_is_blamed_on_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "http")
    assert problem() == "PORT: must be a port number (got 'http')"


def test_request_timeout_is_understood_by_its_plain_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUEST_TIMEOUT", "7.5")
    assert Settings.load().request_timeout_seconds == 7.5
    monkeypatch.setenv("AFTERWARDS_REQUEST_TIMEOUT_SECONDS", "8")
    assert Settings.load().request_timeout_seconds == 8


def test_a_wrong_plain_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUEST_TIMEOUT", "0")
    assert problem() == "REQUEST_TIMEOUT: must be greater than 0 (got '0')"


def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_WORKERS", "x")
    assert problem() == "AFTERWARDS_WORKERS: must be a valid integer (got 'x')"


def test_a_wrong_value_in_the_file_names_its_variable(env_file: Path) -> None:
    env_file.write_text("AFTERWARDS_WORKERS=0\n")
    assert problem() == "AFTERWARDS_WORKERS: must be greater than or equal to 1 (got '0')"


def test_a_wrong_value_of_a_flag_names_the_flag() -> None:
    assert problem(workers="x") == "--workers: must be a valid integer (got 'x')"
    choices = "manager, memory, or postgresql://USER@HOST/DATABASE"
    assert problem(registry="redis") == f"--registry: must be {choices}"


def test_a_mistyped_variable_is_reported_with_a_suggestion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AFTERWARDS_WORKER", "3")
    monkeypatch.setenv("AFTERWARDS_COLOUR", "blue")
    monkeypatch.setenv("AFTERWARDS_WORKERS", "3")
    assert unknown_variables() == [
        "AFTERWARDS_COLOUR is not a setting and has no effect",
        "AFTERWARDS_WORKER is not a setting and has no effect; did you mean AFTERWARDS_WORKERS?",
    ]


def test_where_the_command_line_finds_the_service_is_no_typo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AFTERWARDS_URL", "http://127.0.0.1:8000")
    assert unknown_variables() == []


def test_every_flag_is_of_a_setting() -> None:
    assert set(FLAGS) <= set(Settings.model_fields)
