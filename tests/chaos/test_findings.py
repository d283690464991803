"""The judge's findings in a trace and the killer's notes."""

from __future__ import annotations

from collections import Counter

from tests.chaos.findings import Findings, executed_again
from tests.chaos.killer import Kill
from tests.reliability.conftest import Mark

MASTER, WORKER, HOST = 100, 101, 103
TRACE = [
    Mark("begin", "t", 1, HOST, WORKER, 11.0, MASTER),
    Mark("cut", "t", 1, HOST, WORKER, 12.0, MASTER),
    Mark("begin", "t", 2, 104, 105, 12.5, MASTER),
]


def test_the_death_of_its_host_s_worker_is_a_reason_for_another_attempt() -> None:
    death = Kill("worker SIGKILL", at=11.5, pids=frozenset({WORKER}), in_flight=1)
    [again] = executed_again(TRACE, [death])
    assert again.kill is death


def test_new_task_code_is_no_reason_for_another_attempt() -> None:
    reload = Kill("master SIGHUP", at=11.5, pids=frozenset(), in_flight=1)
    [again] = executed_again(TRACE, [reload])
    assert again.kill is None


def test_the_report_has_how_long_recovery_took_by_kind_of_kill() -> None:
    death = Kill("worker SIGKILL", at=11.5, pids=frozenset({WORKER}), in_flight=1)
    again = executed_again(TRACE, [death])
    report = Findings([], {}, [death], again, Counter()).report()
    assert "      1  worker SIGKILL: median 1.00, longest 1.00" in report
    assert "if no other kill followed" not in Findings([], {}, [], [], Counter()).report()
