"""The promises of `afterwards_executors.base.Executor`, for every executor in the table."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from afterwards_executors.base import End, Executor, Outcome, Slots, Work
from tests.executors.conftest import DEADLINE_SECONDS, FACTORIES, is_running, wait_until

Call = Callable[..., Work]


def outcome_of(future: Future[Outcome]) -> Outcome:
    return future.result(DEADLINE_SECONDS)


def test_its_kind_is_its_key_in_the_table(kind: str, executor: Executor) -> None:
    assert executor.kind == kind.partition(" ")[0]


def test_no_slots_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        FACTORIES[kind](0)


def test_what_the_function_returns_is_the_outcome(executor: Executor, call: Call) -> None:
    outcome = outcome_of(executor.submit(call("succeed", b'{"a": 1}')))

    assert (outcome.end, outcome.value, outcome.error) == (End.SUCCEEDED, b'{"a": 1}', None)


def test_an_empty_value_is_a_value(executor: Executor, call: Call) -> None:
    assert outcome_of(executor.submit(call("succeed", b""))).value == b""


def test_a_failure_that_the_function_reports_arrives_unchanged(
    executor: Executor, call: Call
) -> None:
    outcome = outcome_of(executor.submit(call("fail_transiently")))

    unmeasured = replace(outcome, cpu_seconds=None, peak_memory_bytes=None)
    assert unmeasured == Outcome(
        End.FAILED,
        error="half a pair: \ud800",
        transient=True,
        run_seconds=1.5,
        retry_in_seconds=0.25,
    )


def test_run_seconds_are_measured_unless_the_function_has(executor: Executor, call: Call) -> None:
    assert 0 < outcome_of(executor.submit(call("succeed"))).run_seconds < DEADLINE_SECONDS
    assert outcome_of(executor.submit(call("measure_itself"))).run_seconds == 123.0


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("ValueError", "ValueError: wrong"),
        ("TwoArgumentError", "TwoArgumentError: one and two"),
        ("MuteError", "MuteError"),
        ("SystemExit", "SystemExit: 3"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("GeneratorExit", "GeneratorExit"),
    ],
)
def test_whatever_the_function_raises_is_a_permanent_failure(
    executor: Executor, call: Call, name: str, error: str
) -> None:
    outcome = outcome_of(executor.submit(call("raise_error", name)))

    assert (outcome.end, outcome.error, outcome.transient) == (End.FAILED, error, False)
    assert outcome_of(executor.submit(call("succeed"))).end is End.SUCCEEDED


def test_anything_but_an_outcome_is_a_failure(executor: Executor, call: Call) -> None:
    outcome = outcome_of(executor.submit(call("return_something_else")))

    assert outcome.end is End.FAILED
    assert outcome.error == "The function has to return an Outcome, not int"


def test_a_call_that_takes_too_long_is_timed_out(
    executor: Executor, call: Call, gate: Path
) -> None:
    outcome = outcome_of(executor.submit(call("wait_for", str(gate), timeout_seconds=0.2)))

    assert (outcome.end, outcome.transient) == (End.TIMED_OUT, True)
    assert outcome.error == "Timed out after 0.2 s"
    assert 0.19 <= outcome.run_seconds < DEADLINE_SECONDS  # timers of loops are coarse


def test_a_time_out_holds_a_slot_only_where_the_call_goes_on(
    kind: str, executor: Executor, call: Call, gate: Path
) -> None:
    outcome_of(executor.submit(call("wait_for", str(gate), timeout_seconds=0.2)))

    # A host ends with the last call in it.
    stuck = 1 if kind == "thread in process" else 0
    assert executor.slots() == Slots(total=2, busy=0, stuck=stuck)
    gate.touch()
    wait_until(lambda: executor.slots().free == 2)


def test_a_call_that_ends_in_time_is_not_timed_out(executor: Executor, call: Call) -> None:
    outcomes = [
        outcome_of(executor.submit(call("succeed", timeout_seconds=limit)))
        for limit in (30.0, 60.0, 30.0)
    ]

    assert [outcome.end for outcome in outcomes] == [End.SUCCEEDED] * 3


def test_the_clock_of_a_call_that_waits_for_a_slot_stands_still(
    kind: str, make_executor: Callable[..., Executor], call: Call, gate: Path
) -> None:
    executor = make_executor(kind, slots=1)
    first = executor.submit(call("wait_for", str(gate)))
    second = executor.submit(call("succeed", timeout_seconds=0.2))
    with pytest.raises(TimeoutError):
        second.result(0.4)
    gate.touch()

    assert outcome_of(first).end is End.SUCCEEDED
    assert outcome_of(second).end is End.SUCCEEDED


def test_slots_are_busy_from_the_submission_and_free_in_the_end(
    executor: Executor, call: Call, gate: Path
) -> None:
    assert executor.slots() == Slots(total=2, busy=0, stuck=0)
    futures = [executor.submit(call("wait_for", str(gate)))]
    assert executor.slots() == Slots(total=2, busy=1, stuck=0)
    futures += [executor.submit(call("wait_for", str(gate))) for _ in range(2)]
    assert executor.slots() == Slots(total=2, busy=2, stuck=0)
    assert executor.slots().free == 0
    gate.touch()

    assert [outcome_of(future).end for future in futures] == [End.SUCCEEDED] * 3
    assert executor.slots() == Slots(total=2, busy=0, stuck=0)


def test_no_more_calls_than_slots_run_at_a_time(
    executor: Executor, call: Call, tmp_path: Path
) -> None:
    gates = [tmp_path / f"gate{number}" for number in range(4)]
    futures = [executor.submit(call("wait_for", str(gate))) for gate in gates]
    wait_until(lambda: is_running(gates[0]) and is_running(gates[1]))

    assert not is_running(gates[2])
    gates[1].touch()
    wait_until(lambda: is_running(gates[2]))  # first come, first served
    assert not is_running(gates[3])
    for gate in gates:
        gate.touch()
    assert [outcome_of(future).end for future in futures] == [End.SUCCEEDED] * 4


def test_a_queued_call_can_be_cancelled(
    kind: str, make_executor: Callable[..., Executor], call: Call, gate: Path, tmp_path: Path
) -> None:
    executor = make_executor(kind, slots=1)
    first = executor.submit(call("wait_for", str(gate)))
    never = tmp_path / "never"
    queued = executor.submit(call("wait_for", str(never)))

    assert executor.cancel(queued, "not wanted")
    outcome = outcome_of(queued)
    assert (outcome.end, outcome.error) == (End.CANCELLED, "not wanted")
    assert executor.slots() == Slots(total=1, busy=1, stuck=0)
    gate.touch()
    assert outcome_of(first).end is End.SUCCEEDED
    assert outcome_of(executor.submit(call("succeed"))).end is End.SUCCEEDED
    assert not is_running(never)


def test_a_running_call_is_stopped_where_that_is_possible(
    executor: Executor, call: Call, gate: Path
) -> None:
    future = executor.submit(call("wait_for", str(gate)))
    wait_until(lambda: is_running(gate))

    assert executor.cancel(future, "not wanted") is executor.can_stop
    if not executor.can_stop:
        gate.touch()
    outcome = outcome_of(future)
    if executor.can_stop:
        assert (outcome.end, outcome.error) == (End.CANCELLED, "not wanted")
    else:
        assert outcome.end is End.SUCCEEDED
    wait_until(lambda: executor.slots().free == 2)


def test_a_call_cancelled_right_after_its_submission_ends_either_way(
    executor: Executor, call: Call
) -> None:
    for _ in range(30):
        future = executor.submit(call("succeed"))
        cancelled = executor.cancel(future, "not wanted")
        assert outcome_of(future).end is (End.CANCELLED if cancelled else End.SUCCEEDED)
    assert executor.slots().free == 2


def test_a_finished_call_cannot_be_cancelled_and_keeps_its_outcome(
    executor: Executor, call: Call
) -> None:
    future = executor.submit(call("succeed"))
    outcome = outcome_of(future)

    assert not executor.cancel(future, "too late")
    assert outcome_of(future) is outcome


def test_a_future_cannot_be_cancelled_behind_the_executors_back(
    executor: Executor, call: Call, gate: Path
) -> None:
    futures = [executor.submit(call("wait_for", str(gate))) for _ in range(3)]

    assert not any(future.cancel() for future in futures)
    gate.touch()
    assert [outcome_of(future).end for future in futures] == [End.SUCCEEDED] * 3


def test_many_calls_from_many_threads_all_resolve(executor: Executor, call: Call) -> None:
    futures: list[Future[Outcome]] = []

    def submit() -> None:
        futures.extend(
            executor.submit(call("succeed", str(n).encode(), timeout_seconds=30.0))
            for n in range(250)
        )

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait(futures, DEADLINE_SECONDS)

    assert sorted(int(outcome_of(future).value or b"-1") for future in futures) == sorted(
        list(range(250)) * 4
    )
    assert executor.slots() == Slots(total=2, busy=0, stuck=0)


def test_a_callback_sees_a_free_slot_and_may_submit(executor: Executor, call: Call) -> None:
    seen: list[Slots] = []
    futures: list[Future[Outcome]] = []
    ended = threading.Event()

    def go_on(future: Future[Outcome]) -> None:
        seen.append(executor.slots())
        if len(futures) < 20:
            futures.append(executor.submit(call("succeed")))
            futures[-1].add_done_callback(go_on)
        else:
            ended.set()

    executor.submit(call("succeed")).add_done_callback(go_on)
    assert ended.wait(DEADLINE_SECONDS)

    assert {slots.free for slots in seen} == {2}


def test_a_callback_that_raises_costs_no_slot(
    executor: Executor, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Future[Outcome]) -> None:
        raise ValueError("callback")

    for _ in range(4):
        future = executor.submit(call("succeed"))
        future.add_done_callback(fail)
        assert outcome_of(future).end is End.SUCCEEDED
    wait_until(lambda: executor.slots().free == 2)
    assert outcome_of(executor.submit(call("succeed"))).end is End.SUCCEEDED


def test_calls_see_nothing_of_each_others_context(
    kind: str, make_executor: Callable[..., Executor], call: Call
) -> None:
    executor = make_executor(kind, slots=1)
    futures = [executor.submit(call("bind", name)) for name in "abc"]

    assert [outcome_of(future).value for future in futures] == [b"nothing"] * 3


def test_after_a_shutdown_no_work_is_taken(executor: Executor, call: Call) -> None:
    executor.shutdown(5.0)

    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(call("succeed"))


def test_a_shutdown_resolves_what_runs_and_what_waits(
    executor: Executor, call: Call, gate: Path
) -> None:
    futures = [executor.submit(call("wait_for", str(gate))) for _ in range(5)]
    wait_until(lambda: is_running(gate))
    executor.shutdown(5.0 if executor.can_stop else 0.1)

    assert all(future.done() for future in futures)
    outcomes = {(future.result().end, future.result().error) for future in futures}
    assert outcomes == {(End.CANCELLED, "The executor was shut down")}


def test_a_shutdown_leaves_no_thread(
    kind: str, make_executor: Callable[..., Executor], call: Call
) -> None:
    before = set(threading.enumerate())
    executor = make_executor(kind, slots=4)
    wait([executor.submit(call("succeed")) for _ in range(20)], DEADLINE_SECONDS)
    executor.shutdown(10.0)

    assert set(threading.enumerate()) <= before


def test_a_second_shutdown_does_nothing(executor: Executor, call: Call) -> None:
    outcome_of(executor.submit(call("succeed")))
    executor.shutdown(5.0)
    executor.shutdown(5.0)


def test_an_executor_that_was_never_used_shuts_down(kind: str) -> None:
    executor = FACTORIES[kind](3)
    executor.start()
    executor.shutdown(5.0)


def test_submissions_during_a_shutdown_are_refused_or_resolved(
    kind: str, make_executor: Callable[..., Executor], call: Call
) -> None:
    executor = make_executor(kind)
    futures: list[Future[Outcome]] = []
    refused: list[Any] = []

    def submit_until_refused() -> None:
        try:
            while True:
                futures.append(executor.submit(call("succeed")))
        except RuntimeError as error:
            refused.append(error)

    threads = [threading.Thread(target=submit_until_refused) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(futures) > 20)
    executor.shutdown(5.0)
    for thread in threads:
        thread.join(DEADLINE_SECONDS)

    assert len(refused) == 2
    done = wait(futures, DEADLINE_SECONDS)
    assert not done.not_done
    assert {future.result().end for future in futures} <= {End.SUCCEEDED, End.CANCELLED}
