"""What the judge makes of a trace and the killer's notes."""

from __future__ import annotations

from tests.chaos.findings import executed_again
from tests.chaos.killer import Kill
from tests.reliability.conftest import Mark

MASTER, OLD_WORKER, NEW_WORKER, CHILD = 100, 101, 102, 103
RELOAD = Kill("master SIGHUP", at=10.0, pids=frozenset({MASTER, OLD_WORKER}), in_flight=1)


def test_a_child_of_a_worker_that_a_reload_forked_and_replaced_is_known_by_its_master() -> None:
    # A master that is told to reload while it starts forks workers and replaces them at once. This
    # one has run nothing itself, so only its child tells of it.
    trace = [
        Mark("begin", "t", 1, CHILD, NEW_WORKER, 11.0, MASTER),
        Mark("cut", "t", 1, CHILD, NEW_WORKER, 12.0, MASTER),
        Mark("begin", "t", 2, 104, 105, 12.5, MASTER),
    ]
    [again] = executed_again(trace, [RELOAD])
    assert again.kill is RELOAD


def test_a_reload_is_no_reason_for_an_attempt_under_another_master() -> None:
    trace = [
        Mark("begin", "t", 1, CHILD, NEW_WORKER, 11.0, 200),
        Mark("begin", "t", 2, 104, 105, 12.5, 200),
    ]
    [again] = executed_again(trace, [RELOAD])
    assert again.kill is None


def test_a_reload_is_no_reason_for_what_began_long_after_it() -> None:
    trace = [
        Mark("begin", "t", 1, CHILD, NEW_WORKER, 20.0, MASTER),
        Mark("begin", "t", 2, 104, 105, 21.0, MASTER),
    ]
    [again] = executed_again(trace, [RELOAD])
    assert again.kill is None
