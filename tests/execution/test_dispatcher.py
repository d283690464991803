"""The dispatcher: every claim it takes is started once, reported once, and held until settled."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from afterwards.execution import dispatcher as dispatcher_module
from afterwards.execution import pauses
from afterwards.execution.dispatcher import Dispatcher
from afterwards.execution.executors import Executors
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.base import SUSPECTED
from afterwards.registry.protocol.requests import (
    Failed,
    Held,
    Lost,
    Released,
    Report,
    Stopped,
    Succeeded,
)
from afterwards.task_types import CATALOGUE
from afterwards.task_types.base import Environment, TaskContext, TaskType
from afterwards.task_types.context import Progress
from afterwards.task_types.description import in_process
from afterwards_executors.base import End, HostView, Outcome, Slots, Work
from afterwards_executors.hosts.settings import HostSettings

SUCCESS = Outcome(End.SUCCEEDED, value=b'{"message":"ok"}', run_seconds=0.5)


class Anything(BaseModel):
    pass


async def do_nothing(payload: Anything, context: TaskContext) -> dict[str, str]:
    return {}


PECULIAR = (TaskType("two-minutes", Anything, do_nothing, timeout=timedelta(minutes=2)),)


class ManualExecutor:
    """Runs nothing: the test resolves its futures."""

    kind: ClassVar[str] = "async"
    can_stop: ClassVar[bool] = True

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.futures: list[Future[Outcome]] = []
        self.closed = False
        self.out_of_memory = False
        self.renewed_with: HostSettings | None = None
        self.winds_up = False
        self.views: list[HostView] = []

    def start(self) -> None:
        pass

    def slots(self) -> Slots:
        return Slots(total=10, busy=len(self.works), stuck=1)

    def submit(self, work: Work) -> Future[Outcome]:
        if self.closed:
            raise RuntimeError("shut down")
        if self.out_of_memory:
            raise MemoryError
        self.works.append(work)
        self.futures.append(Future())
        return self.futures[-1]

    def cancel(self, future: Future[Outcome], reason: str, *, by_force: bool = False) -> bool:
        if future.done() or not (self.can_stop or by_force):
            return False
        future.set_result(Outcome(End.CANCELLED, error=reason))
        return True

    def renew(self, settings: HostSettings | None = None) -> None:
        self.renewed_with = settings

    def hosts(self) -> list[HostView]:
        return self.views

    def wind_up(self) -> None:
        self.winds_up = True

    def shutdown(self, timeout_seconds: float) -> None:
        self.closed = True


class ManualThreads(ManualExecutor):
    kind: ClassVar[str] = "thread"
    can_stop: ClassVar[bool] = False


class Bench:
    """A dispatcher with its surroundings."""

    def __init__(self, output_dir: Path) -> None:
        self.executor = ManualExecutor()
        self.threads = ManualThreads()
        self.reports: list[Report] = []
        self.progress: list[tuple[str, int, float, str | None]] = []
        self.told: list[Mapping[str, int]] = []
        """The slots, each time the registry was to hear of them before the next report."""
        self.dispatcher = Dispatcher(
            Executors({"async": self.executor, "thread": self.threads}, {}, ()),
            in_process({**CATALOGUE, **{one.name: one for one in PECULIAR}}),
            Environment(output_dir, 0, 0, 0, 0, 1_000),
            timeout_seconds=60,
            report=self.reports.append,
            progress=lambda *progress: self.progress.append(progress),
            slots_changed=lambda: self.told.append(self.dispatcher.slots()),
        )

    def take(self, *claims: Claim, awaited: bool = False) -> None:
        ids = frozenset(claim.task_id for claim in claims) if awaited else frozenset()
        self.dispatcher.take(claims, ids)

    def start(self, task_id: str) -> None:
        asyncio.run(self.dispatcher.start(task_id))

    def end(self, outcome: Outcome) -> Report:
        self.executor.futures[-1].set_result(outcome)
        return self.reports[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def claim(
    task_id: str = "t",
    attempt: int = 1,
    *,
    executor: str = "async",
    attempts_used: int = 0,
    type_name: str = "notification",
    timeout_seconds: float | None = None,
    crowd: int = 0,
) -> Claim:
    return Claim(
        task_id, attempt, type_name, b"{}", executor, attempts_used, 3, timeout_seconds, crowd
    )


def test_a_claim_that_a_route_waits_for_is_started_by_its_background_task(bench: Bench) -> None:
    bench.take(claim(), awaited=True)
    assert not bench.executor.works
    bench.start("t")
    assert len(bench.executor.works) == 1


def test_a_claim_that_nobody_waits_for_is_started_at_once(bench: Bench) -> None:
    bench.take(claim())
    assert len(bench.executor.works) == 1


def test_a_claim_is_started_once_however_often_it_is_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "SWEEP_AFTER_SECONDS", 0)
    bench.take(claim(), awaited=True)
    bench.start("t")
    bench.start("t")
    bench.dispatcher.sweep()
    assert len(bench.executor.works) == 1


def test_what_its_background_task_leaves_lying_is_swept_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.take(claim(), awaited=True)
    bench.dispatcher.sweep()
    assert not bench.executor.works, "its background task may still come"
    monkeypatch.setattr(dispatcher_module, "SWEEP_AFTER_SECONDS", 0)
    bench.dispatcher.sweep()
    assert len(bench.executor.works) == 1


def test_starting_a_task_that_is_not_here_does_nothing(bench: Bench) -> None:
    bench.start("claimed elsewhere")
    assert not bench.executor.works


def test_a_claim_is_held_until_its_report_is_settled(bench: Bench) -> None:
    bench.take(claim())
    bench.end(SUCCESS)
    assert bench.dispatcher.held() == [Held("t", 1)]
    bench.dispatcher.settle("t", 1)
    assert bench.dispatcher.held() == []


def test_settling_an_attempt_leaves_its_successor_held(bench: Bench) -> None:
    bench.take(claim(attempt=1))
    bench.take(claim(attempt=2))
    bench.dispatcher.settle("t", 1)
    assert bench.dispatcher.held() == [Held("t", 2)]


@pytest.mark.parametrize(
    ("outcome", "report"),
    [
        (SUCCESS, Succeeded("t", 1, b'{"message":"ok"}', 0.5)),
        (Outcome(End.LOST, error="killed by SIGKILL"), Lost("t", 1, "killed by SIGKILL")),
        (Outcome(End.CANCELLED, error="shut down"), Released("t", 1, "shut down")),
        (Outcome(End.STARVED, error="no threads", transient=True), Released("t", 1, "no threads")),
        (Outcome(End.FAILED, error="no"), Failed("t", 1, "no", 0.0, None)),
    ],
)
def test_each_end_of_an_attempt_has_its_report(
    bench: Bench, outcome: Outcome, report: Report
) -> None:
    bench.take(claim())
    assert bench.end(outcome) == report


def test_a_timeout_is_reported_as_one(bench: Bench) -> None:
    bench.take(claim())
    report = bench.end(Outcome(End.TIMED_OUT, error="took too long", transient=True))
    assert isinstance(report, Failed)
    assert report.timed_out


def test_a_task_s_own_time_limit_goes_before_the_service_s(bench: Bench) -> None:
    bench.take(claim("a"), claim("b", timeout_seconds=5))
    assert [work.timeout_seconds for work in bench.executor.works] == [60, 5]


def test_a_type_s_own_time_limit_goes_before_the_service_s(bench: Bench) -> None:
    bench.take(claim("a", type_name="two-minutes"))
    assert bench.executor.works[0].timeout_seconds == 120


def test_a_delay_that_the_attempt_has_said_is_the_report_s(bench: Bench) -> None:
    bench.take(claim())
    outcome = Outcome(End.FAILED, error="busy", transient=True, retry_in_seconds=7.5)
    assert bench.end(outcome) == Failed("t", 1, "busy", 0.0, 7.5)


@pytest.mark.parametrize("told", [-1.0, math.inf, math.nan])
def test_a_delay_that_is_none_loses_no_report(bench: Bench, told: float) -> None:
    bench.take(claim())
    report = bench.end(Outcome(End.FAILED, error="busy", transient=True, retry_in_seconds=told))
    assert isinstance(report, Failed)
    assert report.retry_in_seconds is not None
    assert 0 < report.retry_in_seconds < 60


def test_what_an_attempt_notes_is_its_progress(bench: Bench) -> None:
    bench.take(claim(attempt=3))
    on_progress = bench.executor.works[0].on_progress
    assert on_progress is not None
    on_progress(Progress(0.5, "half").encoded())
    on_progress(Progress(1.0, None).encoded())
    assert bench.progress == [("t", 3, 0.5, "half"), ("t", 3, 1.0, None)]


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b"[2, null]", b"[NaN, null]", b"[" * 9_999])
def test_a_note_that_is_no_progress_is_dropped_with_a_warning(bench: Bench, data: bytes) -> None:
    bench.take(claim())
    on_progress = bench.executor.works[0].on_progress
    assert on_progress is not None
    with capture_logs() as lines:
        on_progress(data)
    assert [line["event"] for line in lines] == ["attempt's progress cannot be read; dropped"]
    assert bench.progress == []


def test_an_attempt_in_a_thread_that_stops_when_asked_is_reported_as_stopped(bench: Bench) -> None:
    bench.take(claim(executor="thread"))
    bench.dispatcher.cancel(Held("t", 1))
    assert bench.reports == []
    bench.threads.futures[0].set_result(Outcome(End.CANCELLED, error="as asked"))
    assert bench.reports == [Stopped("t", 1)]


def test_a_type_that_is_gone_is_still_run_and_fails_there(bench: Bench) -> None:
    bench.take(claim(type_name="of an earlier version"))
    work = bench.executor.works[0]
    outcome = asyncio.run(work.function(*work.args))
    assert outcome.end is End.FAILED
    assert isinstance(bench.end(outcome), Failed)


@pytest.mark.parametrize("kind", ["async", "process"])
def test_a_claim_that_cannot_be_started_is_released_and_nothing_raises(
    bench: Bench, kind: str
) -> None:
    bench.executor.closed = True
    bench.take(claim(executor=kind), awaited=True)
    bench.start("t")
    assert isinstance(bench.reports[0], Released)


def test_a_kind_whose_attempts_starve_rests_and_the_registry_hears_of_it_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bench.take(claim("t"), claim("u"), claim("v"))
    for future in bench.executor.futures:
        future.set_result(Outcome(End.STARVED, error="no descriptors", transient=True))

    assert bench.reports == [Released(task_id, 1, "no descriptors") for task_id in "tuv"]
    assert bench.told == [{"async": 0, "thread": 10, SUSPECTED: 2}] * 3
    now += pauses.FIRST_SECONDS
    assert bench.dispatcher.slots() == {"async": 10, "thread": 10, SUSPECTED: 2}


def test_an_attempt_for_which_there_is_not_even_a_future_is_released_and_its_kind_rests(
    bench: Bench,
) -> None:
    bench.executor.out_of_memory = True
    bench.take(claim())
    assert bench.reports == [Released("t", 1, "Could not be started: MemoryError")]
    assert bench.dispatcher.slots()["async"] == 0


def test_a_cancelled_attempt_is_reported_as_stopped(bench: Bench) -> None:
    bench.take(claim())
    bench.dispatcher.cancel(Held("t", 1))
    assert bench.reports == [Stopped("t", 1)]


def test_a_cancellation_of_another_attempt_is_ignored(bench: Bench) -> None:
    bench.take(claim(attempt=2))
    bench.dispatcher.cancel(Held("t", 1))
    assert not bench.reports


def test_a_cancellation_before_the_start_takes_effect_at_the_start(bench: Bench) -> None:
    bench.take(claim(), awaited=True)
    bench.dispatcher.cancel(Held("t", 1))
    bench.start("t")
    assert bench.reports == [Stopped("t", 1)]


def test_the_fence_stops_and_forgets_all_attempts_without_a_report(bench: Bench) -> None:
    bench.take(claim("a"), claim("b", executor="thread"))
    bench.take(claim("c"), awaited=True)
    bench.dispatcher.fence()
    for executor in (bench.executor, bench.threads):
        assert executor.futures[0].result().end is End.CANCELLED
    assert bench.reports == []
    assert bench.dispatcher.held() == []
    bench.start("c")
    assert len(bench.executor.works) == 1, "c belongs to somebody else by now"


def test_a_drain_waits_for_the_attempts_to_end(bench: Bench) -> None:
    bench.take(claim())

    def finish() -> None:
        bench.end(SUCCESS)
        bench.dispatcher.settle("t", 1)

    threading.Timer(0.05, finish).start()
    assert bench.dispatcher.drain(grace_seconds=10, flush_seconds=10)
    assert isinstance(bench.reports[0], Succeeded)


def test_a_drain_releases_what_outlasts_the_grace(bench: Bench) -> None:
    bench.take(claim("a"), claim("b", executor="thread"))
    assert not bench.dispatcher.drain(grace_seconds=0, flush_seconds=0)
    assert bench.reports == [
        Released(task_id, 1, "its worker is stopping") for task_id in ("a", "b")
    ]


def test_claims_that_come_after_the_drain_are_released(bench: Bench) -> None:
    # In an answer of the registry that was on its way when this worker began to stop.
    assert bench.dispatcher.drain(grace_seconds=0, flush_seconds=0)
    bench.take(claim("a"))
    bench.take(claim("b"), awaited=True)
    asyncio.run(bench.dispatcher.start("b"))
    assert bench.reports == [
        Released("a", 1, "its worker is stopping"),
        Released("b", 1, "its worker is stopping"),
    ]
    assert bench.executor.works == []


def test_a_stuck_call_in_a_host_takes_the_slot_of_its_claim_and_no_other(bench: Bench) -> None:
    assert bench.dispatcher.slots() == {"async": 10, "thread": 10, SUSPECTED: 2}
    assert bench.dispatcher.stuck() == {"async": 1, "thread": 1}
    assert bench.dispatcher.unstoppable() == {"thread"}


def test_a_suspect_is_run_with_no_more_others_than_its_claim_says(bench: Bench) -> None:
    bench.take(claim("a"), claim("b", crowd=3))
    assert [work.crowd for work in bench.executor.works] == [None, 3]


def test_what_an_attempt_prints_is_logged_with_its_task(bench: Bench) -> None:
    bench.take(claim(attempt=2))
    on_line = bench.executor.works[0].on_line
    assert on_line is not None
    with capture_logs() as lines:
        on_line("half done")

    assert [(line["line"], line["task_id"], line["attempt"]) for line in lines] == [
        ("half done", "t", 2)
    ]


def test_an_attempt_that_is_replaced_by_its_successor_is_stopped_without_a_report(
    bench: Bench,
) -> None:
    bench.take(claim(attempt=1))
    bench.take(claim("other", attempt=1), awaited=True)
    bench.take(claim(attempt=2), claim("other", attempt=2))
    assert bench.executor.futures[0].result().end is End.CANCELLED
    assert bench.reports == []
    assert sorted(bench.dispatcher.held()) == [Held("other", 2), Held("t", 2)]
    assert len(bench.executor.works) == 3, "the first attempt at the other was never started"
