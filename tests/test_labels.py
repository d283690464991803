"""The rules of labels."""

from __future__ import annotations

import pytest

from afterwards.labels import MAX_LABEL_CHARACTERS, pair_of

LONG = "x" * (MAX_LABEL_CHARACTERS + 1)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("tenant=acme", ("tenant", "acme")),
        ("plan=pro plus", ("plan", "pro plus")),
        ("sum=1=1", ("sum", "1=1")),
        (f"k={LONG[1:]}", ("k", LONG[1:])),
    ],
)
def test_a_pair_is_a_key_and_a_value(text: str, pair: tuple[str, str]) -> None:
    assert pair_of(text) == pair


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tenant", "pair like"),
        ("=acme", "pair like"),
        ("tenant=", "pair like"),
        (f"{LONG}=acme", "64 characters"),
        (f"tenant={LONG}", "64 characters"),
        ("ten ant=acme", "letters, digits"),
        ("tenant=a\nb", "control characters"),
        ("tenant\n=a", "letters, digits"),
    ],
)
def test_a_text_that_breaks_a_rule_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        pair_of(text)
