"""The rules of labels."""

from __future__ import annotations

from typing import Any

import pytest

from afterwards.labels import MAX_LABEL_CHARACTERS, checked, pair_of, stored

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


def test_labels_that_a_task_can_have_stay_as_they_are() -> None:
    labels = {"tenant": "acme", "a/b.c-d_*": "pro plus"}

    assert checked(labels) is labels
    assert stored(labels) == '{"a/b.c-d_*":"pro plus","tenant":"acme"}'
    assert stored({}) is None


@pytest.mark.parametrize(
    "labels",
    [
        ["tenant"],
        "tenant=acme",
        {"": "x"},
        {"x": ""},
        {"a b": "x"},
        {"x": "a\nb"},
        {"x" * 65: "x"},
        {"x": "x" * 65},
        {1: "x"},
        {"x": 1},
        {str(number): "x" for number in range(9)},
    ],
)
def test_others_are_refused(labels: Any) -> None:
    with pytest.raises(ValueError, match="label"):
        checked(labels)
