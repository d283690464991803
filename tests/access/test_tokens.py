"""Tokens: drawn at random, read strictly, stored as a hash of their secret."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwards.access.tokens import new_token, parsed

TOKEN = "aw_abcdef012345_" + "s" * 43


def test_a_token_is_its_id_and_a_secret_of_32_bytes() -> None:
    token = new_token()
    prefix, key_id, secret = token.text.split("_", 2)
    assert (prefix, key_id, len(secret)) == ("aw", token.id, 43)
    assert len(key_id) == 12
    assert token.digest == sha256(secret.encode()).digest()


def test_a_token_is_read_as_it_was_drawn() -> None:
    # Both alphabets have all their characters in these, `_` and `-` included.
    for token in [new_token() for _ in range(200)]:
        assert parsed(token.text.encode()) == (token.id, token.digest)


def test_no_two_tokens_are_equal() -> None:
    drawn = [new_token() for _ in range(1000)]
    assert len({token.id for token in drawn}) == len({token.digest for token in drawn}) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "", TOKEN[:-1], TOKEN + "s", TOKEN + "\n", " " + TOKEN, TOKEN.upper(),
        TOKEN.replace("aw_", "bw_"), TOKEN.replace("s", "+"), TOKEN.replace("s", "="),
        TOKEN.replace("abc", "ABC"), TOKEN.replace("_", "-"), TOKEN.replace("s", "\0"),
    ],
)  # fmt: skip
def test_what_is_no_token_is_not_read(text: str) -> None:
    assert parsed(TOKEN.encode()) is not None
    assert parsed(text.encode()) is None


@given(st.binary(max_size=100))
def test_no_bytes_make_reading_raise(text: bytes) -> None:
    assert parsed(text) is None
