"""A public address without keys ends the start, unless somebody has said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afterwards.cli import main
from afterwards.errors import ConfigurationError
from afterwards.server.exposure import require_keys_in_public
from afterwards.settings import Settings

PUBLIC = ("0.0.0.0:80", "[::]:80", "192.0.2.7:80", "tasks.example.org:80", "[2001:db8::7]:80")
OWN = ("127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "localhost:80", "unix:/run/a.sock")


def settings(data_dir: Path, bind: str, **changes: Any) -> Settings:
    return Settings(_env_file=None, data_dir=data_dir / "data", bind=bind, **changes)


def make_key(data_dir: Path) -> None:
    words = ["keys", "create", "root", "--role", "admin", "--data-dir", str(data_dir / "data")]
    assert main(words) == 0


@pytest.mark.parametrize("bind", PUBLIC)
def test_a_public_address_without_keys_is_refused_with_what_to_do(
    bind: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        require_keys_in_public(settings(tmp_path, bind))
    message = str(refused.value)
    for word in (bind, "afterwards keys create", "AFTERWARDS_ALLOW_ANONYMOUS=public"):
        assert word in message


@pytest.mark.parametrize("bind", OWN)
def test_an_address_of_this_machine_alone_needs_no_keys(bind: str, tmp_path: Path) -> None:
    require_keys_in_public(settings(tmp_path, bind))


def test_whoever_says_so_is_served_in_public(tmp_path: Path) -> None:
    require_keys_in_public(settings(tmp_path, PUBLIC[0], allow_anonymous="public"))


def test_keys_open_the_way_until_they_are_turned_off(tmp_path: Path) -> None:
    public = settings(tmp_path, PUBLIC[0])
    make_key(tmp_path)
    require_keys_in_public(public)
    assert main(["keys", "off", "--data-dir", str(public.data_dir)]) == 0
    with pytest.raises(ConfigurationError):
        require_keys_in_public(public)
    # There was a key, so the file makes none.
    with pytest.raises(ConfigurationError):
        require_keys_in_public(settings(tmp_path, PUBLIC[0], first_key_file="/run/key"))


@pytest.mark.parametrize("registry", ["manager", "memory"])
def test_a_file_with_the_first_key_opens_it_where_there_was_none(
    registry: str, tmp_path: Path
) -> None:
    require_keys_in_public(
        settings(tmp_path, PUBLIC[0], registry=registry, first_key_file="/run/key")
    )


def test_keys_of_a_journal_say_nothing_of_a_service_without_it(tmp_path: Path) -> None:
    make_key(tmp_path)
    with pytest.raises(ConfigurationError) as refused:
        require_keys_in_public(settings(tmp_path, PUBLIC[0], registry="memory"))
    assert "AFTERWARDS_FIRST_KEY_FILE" in str(refused.value)
    assert "afterwards keys create" not in str(refused.value)


def test_the_port_of_a_platform_is_public_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "0")
    assert main(["serve"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("afterwards: PORT: 0.0.0.0:0 can be reached by others")
    assert error.count("\n") == 1
