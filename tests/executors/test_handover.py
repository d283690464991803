"""Hosts are renewed while calls run: those go on where they are, and not for ever."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from afterwards_executors.base import End, Outcome, Work
from afterwards_executors.hosts import executor as executors
from afterwards_executors.hosts.executor import HostExecutor
from afterwards_executors.hosts.settings import HostSettings
from tests.executors import handover
from tests.executors.conftest import DEADLINE_SECONDS, MakeExecutor, wait_until

pytestmark = pytest.mark.processes


class Bench:
    """An executor of one kind with two slots, and calls that wait for a file of their own."""

    def __init__(self, make: MakeExecutor, kind: str, tmp_path: Path, **settings: Any) -> None:
        made = make(kind, 2, HostSettings(**settings))
        assert isinstance(made, HostExecutor)
        self.executor = made
        self._kind = kind
        self._tmp_path = tmp_path

    def submit(self, name: str) -> Future[Outcome]:
        function = handover.wait_async if self._kind == "async" else handover.wait
        return self.executor.submit(Work(function, (str(self._tmp_path / name),)))

    def begin(self, name: str) -> Future[Outcome]:
        future = self.submit(name)
        wait_until(lambda: self.has_begun(name))
        return future

    def has_begun(self, name: str) -> bool:
        return (self._tmp_path / f"{name}.running").exists()

    def is_asked(self, name: str) -> bool:
        return (self._tmp_path / f"{name}.asked").exists()

    def end(self, future: Future[Outcome], name: str) -> Outcome:
        (self._tmp_path / name).touch()
        return future.result(DEADLINE_SECONDS)


def test_a_call_goes_on_where_it_is_and_further_ones_run_in_fresh_hosts(
    make_executor: MakeExecutor, hosted: str, tmp_path: Path
) -> None:
    bench = Bench(make_executor, hosted, tmp_path)
    old = bench.begin("old")
    bench.executor.renew()
    new = bench.begin("new")
    assert not bench.is_asked("old")
    pids = {bench.end(old, "old").value, bench.end(new, "new").value}
    assert len(pids) == 2
    assert None not in pids


def test_while_earlier_calls_hold_all_slots_there_is_one_more(
    make_executor: MakeExecutor, hosted: str, tmp_path: Path
) -> None:
    bench = Bench(make_executor, hosted, tmp_path)
    first, second = bench.begin("first"), bench.begin("second")
    bench.executor.renew()
    wait_until(lambda: bench.executor.slots().total == 3)
    new = bench.begin("new")
    # No two: the next one has to wait.
    late = bench.submit("late")
    bench.end(first, "first")
    wait_until(lambda: bench.executor.slots().total == 2)
    assert not bench.has_begun("late")
    bench.end(second, "second")
    bench.end(new, "new")
    assert bench.end(late, "late").end is End.SUCCEEDED


def test_the_calls_of_the_third_renewal_before_are_asked_to_end_and_then_ended(
    make_executor: MakeExecutor, hosted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "WIND_UP_SECONDS", 0.5)
    bench = Bench(make_executor, hosted, tmp_path)
    oldest = bench.begin("oldest")
    bench.executor.renew()
    later = bench.begin("later")
    bench.executor.renew()
    bench.executor.renew()
    wait_until(lambda: bench.is_asked("oldest"))
    outcome = oldest.result(DEADLINE_SECONDS)
    assert (outcome.end, outcome.error) == (End.CANCELLED, executors.REPLACED)
    assert not bench.is_asked("later")
    assert bench.end(later, "later").end is End.SUCCEEDED


def test_a_call_that_is_asked_may_end_by_itself(
    make_executor: MakeExecutor, hosted: str, tmp_path: Path
) -> None:
    bench = Bench(make_executor, hosted, tmp_path, handover_seconds=0.01)
    old = bench.begin("old")
    bench.executor.renew()
    wait_until(lambda: bench.is_asked("old"))
    assert bench.end(old, "old").end is End.SUCCEEDED


def test_all_calls_are_asked_when_everything_is_about_to_end(
    make_executor: MakeExecutor, hosted: str, tmp_path: Path
) -> None:
    bench = Bench(make_executor, hosted, tmp_path)
    call = bench.begin("call")
    bench.executor.wind_up()
    wait_until(lambda: bench.is_asked("call"))
    assert bench.end(call, "call").end is End.SUCCEEDED
