"""What tells two submissions apart."""

from __future__ import annotations

import json

import pytest

from afterwards.service.intake import fingerprint


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
