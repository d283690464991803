"""A figure is given only if what was answered is what was done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.bench.stand import check_accepted
from loadtests.errors import LoadTestError
from loadtests.metrics import Counts

BEFORE = Counts(
    at=0.0, submitted=5, succeeded=5, failed=0, unfinished=0, commits=3, commit_seconds=0.1
)


def after(submitted: int, succeeded: int) -> Counts:
    return replace(BEFORE, submitted=submitted, succeeded=succeeded)


@pytest.mark.parametrize("unanswered", [0, 4])
def test_each_connection_may_have_one_task_whose_answer_nobody_waited_for(unanswered: int) -> None:
    number = 100 + unanswered
    assert check_accepted(100, 4, BEFORE, after(5 + number, 5 + number)) == number


@pytest.mark.parametrize(
    ("submitted", "succeeded"),
    [(99, 99), (105, 105), (100, 99)],
    ids=["answered and not accepted", "accepted and not answered", "accepted and not done"],
)
def test_counts_that_differ_give_no_figure(submitted: int, succeeded: int) -> None:
    with pytest.raises(LoadTestError):
        check_accepted(100, 4, BEFORE, after(5 + submitted, 5 + succeeded))
