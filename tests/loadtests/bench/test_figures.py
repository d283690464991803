"""Medians, spreads, percentiles and ratios."""

from __future__ import annotations

import pytest

from loadtests.bench.figures import Figure, Row, percentile


def test_a_figure_has_its_median_and_its_spread() -> None:
    figure = Figure.of([5.0, 1.0, 3.0])
    assert (figure.median, figure.low, figure.high) == (3.0, 1.0, 5.0)


def test_a_figure_without_rounds_is_none() -> None:
    with pytest.raises(ValueError, match="needs a value"):
        Figure.of([])


def test_a_ratio_is_taken_round_by_round() -> None:
    row = Row("post", "n", "1/s", Figure.of([50, 90]), Figure.of([100, 100]))
    assert row.ratio == Figure.of([0.5, 0.9])


def test_rounds_that_do_not_belong_together_have_no_ratio() -> None:
    row = Row("post", "n", "1/s", Figure.of([50, 90]), Figure.of([100]))
    with pytest.raises(ValueError, match="shorter"):
        assert row.ratio


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.0, 1)]
)
def test_a_percentile_is_a_value_that_was_seen(share: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), share) == expected
