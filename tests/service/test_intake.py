"""The fingerprint that tells two submissions apart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwards.service.intake import fingerprint, fingerprint_of_json
from afterwards.system.large_bodies import LARGE_BYTES


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": [2]}', '{"b": [2.0], "a": 1.0}'),
        ("0", "-0.0"),
        ("10000000000000000", "1e16"),
        ("1500", "1.5e3"),
        ('"\\u00e9"', '"é"'),
    ],
)
def test_the_same_json_has_the_same_fingerprint(one: str, other: str) -> None:
    assert fingerprint(json.loads(one)) == fingerprint(json.loads(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.5"),
        ("1", "true"),
        ("1", '"1"'),
        ('["1.0"]', '["1"]'),
        (r'["\"1.0", 2.0]', r'["\"1", 2.0]'),
        ("1e-7", "0"),
        (f"[1.0, {10**400}]", f"[1, {10**400 + 1}]"),
    ],
)
def test_other_json_has_another(one: str, other: str) -> None:
    assert fingerprint(json.loads(one)) != fingerprint(json.loads(other))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([5.0, -0.0, 1e16, 1e21, 1e308, 1e-7]) | st.text(),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
)  # fmt: skip


@given(JSON)
def test_a_large_one_has_the_fingerprint_that_it_would_have_as_a_small_one(sent: object) -> None:
    text = json.dumps(sent).encode()
    large = text + b" " * LARGE_BYTES

    assert fingerprint_of_json(large) == fingerprint_of_json(text) == fingerprint(json.loads(text))
