"""Buckets of series: numbers that add up, small on disk, and quantiles of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwards.buckets import STORED, Bucket, filled, quantile, quiet_of
from afterwards.counts import TASK_SECONDS, Histogram

CELLS = len(TASK_SECONDS) + 1
NUMBERS = st.integers(0, 2**40)


def lists(size: int, numbers: st.SearchStrategy[int] = NUMBERS) -> st.SearchStrategy[list[int]]:
    return st.lists(numbers, min_size=size, max_size=size)


BUCKETS = st.builds(
    Bucket,
    lists(5),
    lists(7),
    lists(7, st.integers(-(2**40), 2**40)),
    lists(CELLS),
    lists(CELLS),
    NUMBERS,
)


@given(BUCKETS)
def test_a_bucket_is_read_as_it_was_written(bucket: Bucket) -> None:
    assert Bucket.decode(bucket.encode()) == bucket
    assert quiet_of(bucket.encode()) == bucket.quiet


@given(BUCKETS, BUCKETS)
def test_two_buckets_add_up_to_what_happened_in_both(first: Bucket, second: Bucket) -> None:
    both = Bucket.empty()
    both.add(first)
    both.add(second)
    assert both.counted == [a + b for a, b in zip(first.counted, second.counted, strict=True)]
    assert both.run == [a + b for a, b in zip(first.run, second.run, strict=True)]
    assert both.stored == second.stored


def test_a_bucket_with_little_to_tell_is_small() -> None:
    bucket = Bucket.empty([0, 0, 0, 1, 300, 2, 0])
    bucket.counted[:2] = 90, 88
    bucket.wait[:2] = 80, 10
    assert len(bucket.encode()) < 40


@pytest.mark.parametrize("data", [b"", b"\x07\x01", b"\x01" + b"\x01" * 100, b"\x01\x80"])
def test_what_another_version_has_written_is_no_bucket(data: bytes) -> None:
    found = Bucket.decode(data)
    assert found is None or found == Bucket.empty()
    assert quiet_of(data) in (0, 1)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_a_quantile_is_within_the_cell_of_the_true_one(share: float) -> None:
    drawn = random.Random(5)
    values = sorted(drawn.lognormvariate(-3, 2) for _ in range(5_000))
    histogram = Histogram(TASK_SECONDS, {})
    for value in values:
        histogram.observe("x", value)
    found = quantile(histogram.numbers("x"), share)
    true = values[int(share * len(values))]
    assert found is not None
    assert true / 2.5 <= found <= true * 2.5


def test_quantiles_stay_within_the_bounds() -> None:
    nothing = [0] * CELLS
    low, high = [*nothing], [*nothing]
    low[0] = high[-1] = 3
    assert quantile(nothing, 0.5) is None
    assert quantile(low, 0.5) == 0.0005
    assert quantile(high, 0.5) == 1_800


def test_quiet_times_have_what_was_stored_and_times_without_a_service_have_nothing() -> None:
    busy = Bucket.empty([0, 5, 0, 0, 0, 0, 0])
    busy.grown[STORED.index("pending")] = 2
    now = [0, 5, 0, 0, 0, 0, 0]

    found = filled([10, 20, 30, 40], {30: busy}, {20, 40}, now)

    pending = [None if bucket is None else bucket.stored[1] for bucket in found]
    assert pending == [None, 3, 5, 5]
