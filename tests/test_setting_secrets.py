"""Files with secrets: what each may hold, and that mistakes name the setting and no secret."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from afterwards.errors import ConfigurationError
from afterwards.settings import Settings

A, B = (b64encode(letter * 32).decode() for letter in (b"a", b"b"))


def problem_of_effects() -> str:
    with pytest.raises(ConfigurationError) as caught:
        _ = Settings.load().effects
    return str(caught.value)


def test_the_keys_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"k2:{B}\nk1:{A}\n")
    monkeypatch.setenv("AFTERWARDS_ENCRYPTION_KEYS_FILE", str(file))
    assert list(Settings.load().journal_keys().by_id) == ["k2", "k1"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"\xff", "must be text in ASCII"),
        (A.encode(), "must be id:key"),
    ],
)
def test_a_file_without_keys_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("AFTERWARDS_ENCRYPTION_KEYS_FILE", str(file))
    with pytest.raises(ConfigurationError, match=problem) as refused:
        Settings.load().journal_keys()
    assert str(refused.value).startswith(f"AFTERWARDS_ENCRYPTION_KEYS_FILE: {file} ")
    assert A[:8] not in str(refused.value)


def test_the_keys_are_not_in_two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_ENCRYPTION_KEYS", f"k1:{A}")
    monkeypatch.setenv("AFTERWARDS_ENCRYPTION_KEYS_FILE", "/nowhere")
    with pytest.raises(ConfigurationError, match="must not be set beside"):
        Settings.load().journal_keys()


def test_the_password_of_mail_may_lie_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    monkeypatch.setenv("AFTERWARDS_MAIL_FROM", "Shop <no-reply@example.com>")
    monkeypatch.setenv("AFTERWARDS_SMTP_URL", "smtps://jo@mail.example")
    assert problem_of_effects().startswith("AFTERWARDS_SMTP_URL: has a user and no password")
    monkeypatch.setenv("AFTERWARDS_SMTP_PASSWORD_FILE", str(file))
    assert "cannot be read: No such file" in problem_of_effects()
    file.write_text("\n")
    assert "is empty" in problem_of_effects()
    file.write_text("pass wörd \n")
    settings = Settings.load()
    mail = settings.effects.mail
    assert mail is not None
    assert mail.server.password == "pass wörd "
    # Workers that are started later have what was read at the start.
    file.unlink()
    assert settings.effects.mail == mail
    monkeypatch.setenv("AFTERWARDS_SMTP_URL", "smtps://mail.example")
    assert problem_of_effects().startswith("AFTERWARDS_SMTP_PASSWORD_FILE: needs a user")


def test_a_wrong_file_of_secrets_ends_the_start_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "secrets.json"
    file.touch(0o600)
    monkeypatch.setenv("AFTERWARDS_SECRETS_FILE", str(file))
    said = problem_of_effects()
    assert said.startswith(f"AFTERWARDS_SECRETS_FILE: {file} must be JSON")
    file.unlink()
    assert "cannot be read: No such file" in problem_of_effects()
