"""Sealed values: opened by their key, for their task and their field, whole, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st

from afterwards.registry.journal.sealing import (
    Seal,
    Subject,
    Unsealable,
    Value,
    is_sealed,
    is_under,
    key_id_of,
)
from tests.registry.bench import keys_of

TASK, OTHER = b"t" * 16, b"o" * 16


@pytest.fixture
def seal() -> Seal:
    return Seal(keys_of("k1"))


def sealed(seal: Seal, value: Value = b"{}") -> bytes:
    found = seal.seal(value, TASK, "payload")
    assert isinstance(found, bytes)
    return found


@pytest.mark.parametrize(
    "value", [b"", b'{"a":1}', "", "no ☃", b"\x01awb" + b"x" * 60, "x" * 10**6]
)
def test_a_value_comes_back_as_it_was_and_of_its_kind(seal: Seal, value: Value) -> None:
    stored = sealed(seal, value)
    assert is_sealed(stored)
    assert key_id_of(stored) == "k1"
    assert seal.open(stored, TASK, "payload") == value


def test_no_value_stays_none(seal: Seal) -> None:
    assert seal.seal(None, TASK, "result") is None
    assert seal.open(None, TASK, "result") is None


def test_the_same_value_is_sealed_differently_each_time(seal: Seal) -> None:
    assert sealed(seal) != sealed(seal)


def test_the_key_of_a_task_is_derived_by_hkdf(seal: Seal) -> None:
    keys = keys_of("k1")
    info = b"afterwards journal id:" + TASK
    key = HKDFExpand(SHA256(), 32, info).derive(keys.by_id["k1"])
    stored = sealed(seal)
    head, nonce, rest = stored[:7], stored[7:19], stored[19:]
    assert head == b"\x01awb\x02k1"
    assert AESGCM(key).decrypt(nonce, rest, head + b"payload") == b"{}"


def test_a_value_of_another_task_is_not_opened(seal: Seal) -> None:
    with pytest.raises(Unsealable, match="changed, or belongs elsewhere"):
        seal.open(sealed(seal), OTHER, "payload")


def test_a_value_of_another_field_is_not_opened(seal: Seal) -> None:
    with pytest.raises(Unsealable, match="changed, or belongs elsewhere"):
        seal.open(sealed(seal), TASK, "result")


def test_a_schedule_has_no_key_of_a_task(seal: Seal) -> None:
    with pytest.raises(Unsealable, match="changed, or belongs elsewhere"):
        seal.open(sealed(seal), "t" * 16, "payload")


def test_no_byte_can_be_changed_or_cut_off(seal: Seal) -> None:
    stored = sealed(seal, b'{"a":1}')
    for place in range(3, len(stored)):
        changed = stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :]
        with pytest.raises(Unsealable):
            seal.open(changed, TASK, "payload")
    for size in set(range(3, len(stored))) - {32}:
        with pytest.raises(Unsealable):
            seal.open(stored[:size], TASK, "payload")


def test_a_key_that_is_not_given_is_named(seal: Seal) -> None:
    with pytest.raises(Unsealable, match="the key 'k1', which is not given"):
        Seal(keys_of("k2")).open(sealed(seal), TASK, "payload")


@pytest.mark.parametrize("plain", [b"{}", "claimed", b"\x01awb" + b"d" * 28, b"batch:" + b"d" * 32])
def test_a_plain_value_is_taken_for_one(seal: Seal, plain: Value) -> None:
    assert not is_sealed(plain)
    assert key_id_of(plain) is None
    assert seal.open(plain, TASK, "fingerprint") == plain


def test_a_value_under_the_key_that_writes_is_not_sealed_again(seal: Seal) -> None:
    stored = sealed(seal)
    assert seal.resealed(stored, TASK, "payload") is stored
    newer = Seal(keys_of("k2", "k1"))
    again = newer.resealed(stored, TASK, "payload")
    assert key_id_of(again) == "k2"
    assert newer.open(again, TASK, "payload") == b"{}"
    assert Seal(keys_of("none", "k1")).resealed(stored, TASK, "payload") == b"{}"


# -- whatever the values are ----------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN_BYTES = st.binary().filter(lambda value: not is_sealed(value))
VALUES = st.one_of(st.none(), TEXT, PLAIN_BYTES)
SUBJECTS = st.one_of(st.binary(min_size=16, max_size=16), TEXT)
IDS = ("k1", "k2", "the-longest_id.of-32-characters0")
WRITERS = st.sampled_from(["none", *IDS])
RINGS = {
    writer: Seal(keys_of(writer, *(name for name in IDS if name != writer)))
    for writer in ("none", *IDS)
}


@settings(deadline=None)
@given(VALUES, SUBJECTS, TEXT, st.lists(WRITERS, min_size=1, max_size=5))
def test_any_value_outlasts_any_changes_of_keys(
    value: Value, subject: Subject, field: str, writers: Sequence[str]
) -> None:
    stored = value
    for writer in writers:
        seal = RINGS[writer]
        stored = seal.resealed(stored, subject, field)
        assert value is None or is_under(stored, seal.writer)
        assert is_sealed(stored) == (value is not None and seal.writer is not None)
        for other in RINGS.values():
            found = other.open(stored, subject, field)
            assert (found, type(found)) == (value, type(value))


@settings(deadline=None)
@given(VALUES.filter(lambda value: value is not None), st.data())
def test_no_change_of_a_sealed_value_is_taken_for_one(value: Value, data: st.DataObject) -> None:
    stored = sealed(RINGS["k1"], value)
    begin = data.draw(st.integers(3, len(stored)), label="begin")
    end = data.draw(st.integers(begin, len(stored)), label="end")
    changed = stored[:begin] + data.draw(st.binary(), label="instead") + stored[end:]
    if changed == stored or not is_sealed(changed):
        return
    with pytest.raises(Unsealable):
        RINGS["k1"].open(changed, TASK, "payload")


@settings(deadline=None)
@given(SUBJECTS, SUBJECTS, TEXT, TEXT)
def test_a_value_is_opened_for_its_owner_and_its_field_alone(
    subject: Subject, other: Subject, field: str, other_field: str
) -> None:
    stored = RINGS["k1"].seal(b"{}", subject, field)
    if (subject, field) == (other, other_field):
        return
    with pytest.raises(Unsealable):
        RINGS["k1"].open(stored, other, other_field)
