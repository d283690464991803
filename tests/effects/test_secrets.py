"""The file of secrets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from afterwards.effects.secrets import Secret, read_secrets
from afterwards.settings import Settings

GOOD = {"value": "hidden-value", "hosts": ["api.example.com"]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "secrets.json"
    file.touch(0o600)
    return file


def problem(file: Path, content: Any) -> str:
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=r".") as raised:
        read_secrets(file)
    assert "hidden" not in str(raised.value)
    return str(raised.value)


def test_secrets_have_their_hosts_and_do_not_show(file: Path) -> None:
    hosts = ["API.example.com.", "*.example.org"]
    file.write_text(json.dumps({"shop": {"value": "hidden value", "hosts": hosts}}))
    assert read_secrets(file) == {
        "shop": Secret("hidden value", ("api.example.com", "*.example.org"))
    }
    assert "hidden" not in repr(read_secrets(file))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("hidden", "must be JSON"),
        ([], "must be JSON"),
        ({"a b": GOOD}, "must have names"),
        ({"a": "hidden-value"}, "must have value and hosts"),
        ({"a": {**GOOD, "host": "x"}}, "must have value and hosts, and nothing else"),
        ({"a": {**GOOD, "value": "hidden\n-value"}}, "must have a value of 8"),
        ({"a": {**GOOD, "value": "hidden"}}, "must have a value of 8"),
        ({"a": {**GOOD, "hosts": []}}, "must list the hosts"),
        ({"a": {**GOOD, "hosts": "api.example.com"}}, "must list the hosts"),
        ({"a": {**GOOD, "hosts": ["https://api.example.com"]}}, "hosts of secret 'a': must be"),
        ({"a": {**GOOD, "hosts": ["*"]}}, "must name the hosts"),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_shows_no_secret(
    file: Path, content: Any, reason: str
) -> None:
    assert problem(file, content).startswith(reason)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601])
def test_a_file_that_others_may_open_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert problem(file, {"a": GOOD}).startswith("must not be open to other users")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(file: Path) -> None:
    os.chown(file, 12345, -1)
    assert problem(file, {"a": GOOD}).startswith("must belong to the service's user")


def test_secrets_are_those_of_requests(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(json.dumps({"shop": GOOD}))
    monkeypatch.setenv("AFTERWARDS_SECRETS_FILE", str(file))
    monkeypatch.setenv("AFTERWARDS_HTTP_HOSTS", "api.example.com")
    settings = Settings.load()
    assert settings.effects.http is not None
    assert settings.effects.http.secrets.keys() == {"shop"}
    assert "hidden" not in repr(settings) + repr(settings.effects)
