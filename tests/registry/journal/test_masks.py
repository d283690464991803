"""Which errors are of one kind."""

from __future__ import annotations

import time

import pytest

from afterwards.registry.journal.masks import MOST_CHARACTERS, kind_of, masked


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("no route to host", "no route to host"),
        ("order 12 of 3,400.5 was not paid", "order # of # was not paid"),
        ("order 12345678 is late", "order # is late"),
        ("KeyError: 'region'", "KeyError: '…'"),
        ("no file \"a 'b' c\" here", 'no file "…" here'),
        ("can't open 'x', won't try 'y'", "can't open '…', won't try '…'"),
        ("no “a b” and no «c»", "no “…” and no «…»"),
        ("task 0b9a3a52-27cd-4e0f-8a43-8c7f6a1d9e02 is gone", "task <id> is gone"),
        ("object at 0x7f38eec7b650 of DEADBEEF42", "object at <id> of <id>"),
        ("a facade decade", "a facade decade"),
        ("Not started before its deadline 2026-11-28T04:00:00+00:00", None),
        ("two\n  lines\tand a tab", "two lines and a tab"),
        ("", ""),
    ],
)
def test_ids_numbers_and_quoted_parts_do_not_count(error: str, shown: str | None) -> None:
    if shown is None:
        shown = "Not started before its deadline #-#-#T#+#"
    assert masked(error) == shown


def test_a_mask_is_bounded() -> None:
    assert len(masked("word " * 1_000)) == MOST_CHARACTERS


def test_a_kind_belongs_to_a_type() -> None:
    assert kind_of("a", "no 1").id == kind_of("a", "no 2").id != kind_of("b", "no 1").id
    assert len(kind_of("a", "no").id) == 8
    assert kind_of("a", "no 1")[1:] == ("a", "no #")


@pytest.mark.measures
@pytest.mark.parametrize(
    "piece", ["'", '"', "“", "«", "' x", "a", "0", "1.", "0x", "a1b2", "0-", " "]
)
def test_masking_takes_linear_time(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        best = float("inf")
        for _ in range(3):
            started = time.perf_counter()
            masked(text)
            best = min(best, time.perf_counter() - started)
        return best

    # Of 32 times the length quadratic time takes a thousand times as long.
    assert seconds(64_000) < 200 * max(seconds(2_000), 1e-5)
