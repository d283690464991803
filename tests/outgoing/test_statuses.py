"""The meaning of an answer for another try, the header `Retry-After` included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwards.outgoing.calls import Answer
from afterwards.outgoing.statuses import MAX_RETRY_AFTER_SECONDS, retry_after_seconds

NOW = 1_795_860_000.0  # Sat, 28 Nov 2026 10:00:00 GMT


def answer(value: str | None) -> Answer:
    headers = [] if value is None else [("retry-after", value)]
    return Answer(status=503, headers=headers, body=b"", is_whole=True, url="http://a.example/")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("Sat, 28 Nov 2026 10:00:30 GMT", 30.0),
        ("Saturday, 28-Nov-26 10:00:30 GMT", 30.0),
        ("Sat, 28 Nov 2026 09:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("1" * 400, MAX_RETRY_AFTER_SECONDS),
        ("Sat, 28 Nov 2027 10:00:30 GMT", MAX_RETRY_AFTER_SECONDS),
        ("Sat, 99 Nov 2026 10:00:30 GMT", None),
    ],
)
def test_it_is_a_number_of_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(answer(value), NOW) == seconds


@given(st.text())
def test_whatever_it_is_is_read_or_left(value: str) -> None:
    found = retry_after_seconds(answer(value), NOW)
    assert found is None or 0 <= found <= MAX_RETRY_AFTER_SECONDS


def test_the_longest_wait_is_the_askers_choice() -> None:
    assert retry_after_seconds(answer("90000"), NOW, most=86_400.0) == 86_400.0
