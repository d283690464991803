"""The keys that a journal is encrypted with: what may be written, and that nothing shows them."""

from __future__ import annotations

from base64 import b64encode

import pytest

from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import ConfigurationError
from afterwards.settings import Settings

A, B = (b64encode(letter * 32).decode() for letter in (b"a", b"b"))


def test_the_first_key_writes_and_all_open() -> None:
    keys = EncryptionKeys(f"new:{B}, old:{A}")
    assert keys.writer == "new"
    assert keys.by_id == {"new": b"b" * 32, "old": b"a" * 32}


def test_keys_are_separated_by_commas_or_line_ends() -> None:
    assert list(EncryptionKeys(f"\nnew:{B},\nold:{A}\n").by_id) == ["new", "old"]


def test_none_in_the_first_place_writes_plain() -> None:
    keys = EncryptionKeys(f"none, old:{A}")
    assert keys.writer is None
    assert list(keys.by_id) == ["old"]


def test_without_keys_nothing_is_encrypted() -> None:
    assert EncryptionKeys().writer is None
    assert not EncryptionKeys("none").by_id


@pytest.mark.parametrize(
    "text",
    [
        A,
        f"UPPER:{A}",
        f"a:{A}, none",
        f"a:{A}, none:{B}",
        "a:c2hvcnQ=",
        f"a:{A[:-1]}",
        f"a:!{A}",
        f"a:{A}, a:{B}",
        ", ".join(f"k{number}:{A}" for number in range(33)),
        " " * 8_193,
    ],
)
def test_what_is_no_key_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("AFTERWARDS_ENCRYPTION_KEYS", text)
    with pytest.raises(ConfigurationError, match=r"^AFTERWARDS_ENCRYPTION_KEYS: must ") as refused:
        Settings.load()
    assert A[:8] not in str(refused.value)
    assert "c2hvcnQ" not in str(refused.value)


def test_neither_settings_nor_keys_show_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_ENCRYPTION_KEYS", f"k1:{A}")
    settings = Settings.load()
    assert settings.journal_keys().writer == "k1"
    assert A[:8] not in f"{settings!r} {settings.journal_keys()!r}"
