"""wrk's counts are those of the server, and a failed request is no figure."""

from __future__ import annotations

import pytest

from loadtests.bench import wrk
from loadtests.bench.stand import Stand
from loadtests.errors import LoadTestError
from tests.loadtests.conftest import needs_wrk


@needs_wrk
def test_a_request_that_is_refused_gives_no_figure(stand: Stand) -> None:
    with stand.bare() as bare, pytest.raises(LoadTestError, match="failed_status"):
        wrk.run(wrk.POST_SCRIPT, f"{bare.url}/elsewhere/", connections=2, seconds=1)


@pytest.mark.parametrize("kind", ["status", "connect", "read", "write", "timeout"])
def test_no_kind_of_failure_is_passed_over(kind: str) -> None:
    summary = f'summary: {{"answers": 10, "microseconds": 1000000, "failed_{kind}": 1}}\n'
    with pytest.raises(LoadTestError, match=kind):
        wrk.parse(summary, "", ended=5.0)


def test_a_load_without_answers_or_without_a_summary_is_none() -> None:
    with pytest.raises(LoadTestError):
        wrk.parse('summary: {"answers": 0, "microseconds": 1000000}\n', "", ended=5.0)
    with pytest.raises(LoadTestError, match="unable to connect"):
        wrk.parse("", "unable to connect", ended=5.0)


def test_a_load_began_its_duration_before_wrk_ended() -> None:
    load = wrk.parse('summary: {"answers": 50, "microseconds": 2000000}\n', "", ended=5.0)
    assert (load.started, load.per_second) == (3.0, 25.0)
