"""The report of a worker: bounded, and true of its hosts."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import pytest

from afterwards.execution import this_worker
from afterwards.execution.executors import Executors
from afterwards.execution.this_worker import ThisWorker
from afterwards_executors.base import HostView
from tests.execution.test_dispatcher import ManualExecutor


class Call(NamedTuple):
    """A future, as far as it is looked at."""

    number: int
    is_overdue: bool = False


class Oldest:
    def __init__(self, *oldest: tuple[str, Call]) -> None:
        self._oldest = oldest

    def oldest(self, number: int) -> list[tuple[str, Call]]:
        return [*self._oldest[:number]]


def host(pid: int, *calls: Call, generation: int = 0, **more: Any) -> HostView:
    fields = {"kind": "async", "is_leaving": False, "crowd": None, **more}
    return HostView(
        pid=pid, generation=generation, calls={call.number: call for call in calls}, **fields
    )


def worker(*hosts: HostView, oldest: Oldest | None = None) -> tuple[ThisWorker, ManualExecutor]:
    executor = ManualExecutor()
    executor.views = [*hosts]
    dispatcher: Any = oldest or Oldest()
    return ThisWorker(Executors({"async": executor}, {}, ()), dispatcher, 4), executor


def test_each_host_is_told_with_what_runs_in_it() -> None:
    calls = [Call(n, is_overdue=n == 2) for n in range(3)]
    own = os.getpid()
    itself, _ = worker(
        host(own, *calls),
        host(2**22 + 1, is_leaving=True),
        host(2**22 + 2, crowd=8),
        oldest=Oldest(("a", calls[1]), ("elsewhere", Call(9))),
    )
    report = itself.report()
    first, *others = report.hosts
    assert (first.pid, first.kind, first.attempts, first.stuck) == (own, "async", 3, 1)
    assert (first.state, *(one.state for one in others)) == ("running", "leaving", "suspects")
    assert first.memory_bytes is not None
    assert first.started_at == pytest.approx(report.started_at, abs=0.1)
    assert [(one.memory_bytes, one.started_at) for one in others] == [(None, None)] * 2
    assert report.host_pids == {"a": own}


def test_hosts_have_the_generation_of_task_code_that_they_were_started_with() -> None:
    itself, executor = worker(host(1))
    itself.renewed(7)
    executor.views.append(host(2, generation=1))
    assert [one.generation for one in itself.report().hosts] == [4, 7]


def test_what_is_compared_changes_with_the_hosts_and_not_with_what_they_run() -> None:
    itself, executor = worker(host(1))
    before = itself.hosts()
    executor.views = [host(1, Call(1))]
    assert itself.hosts() == before
    executor.views = [host(1, is_leaving=True)]
    assert itself.hosts() != before


def test_a_report_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(this_worker, "MAX_HOSTS", 3)
    itself, _ = worker(*(host(2**22 + n) for n in range(9)))
    assert len(itself.report().hosts) == len(itself.hosts()) == 3
