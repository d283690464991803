"""Following the registry's events, and the progress of attempts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from afterwards.counts import WorkerCounts
from afterwards.errors import RegistryUnavailable, StaleReport
from afterwards.lifecycle import TaskState
from afterwards.registry.client.client import PROGRESS_SECONDS, RegistryClient
from afterwards.registry.engine.event_log import MAX_EVENTS_IN_REPLY, EventLog
from afterwards.registry.protocol.answers import Event, Events, ProgressMark
from afterwards.registry.protocol.base import FOLLOW_GATHER_SECONDS
from afterwards.registry.protocol.requests import (
    Add,
    Changes,
    Counts,
    Find,
    Inspect,
    Progress,
    Succeeded,
)
from tests.registry.bench import Bench
from tests.registry.conftest import Reach
from tests.registry.peers import WAIT_SECONDS, ask, eventually, make_task, raised

PENDING, PROCESSING, SUCCESS = TaskState.PENDING, TaskState.PROCESSING, TaskState.SUCCESS


class Follower:
    """Follows in a thread, as a worker does."""

    def __init__(self, reach: Reach) -> None:
        self.events: list[Event] = []
        self.portions: list[int] = []
        start = reach.ask(Changes("", 0))
        self._position = (start.epoch, start.sequence)
        self._registry = reach.open()
        self._over = False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._over:
            answer = self._registry.follow(*self._position, 0.1)
            assert not answer.reset
            if answer.events:
                self.events += answer.events
                self.portions.append(len(answer.events))
                self._position = (answer.epoch, answer.events[-1].sequence)

    def stop(self) -> None:
        self._over = True
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()


# -- following ------------------------------------------------------------------------------------


def test_following_waits_for_the_next_event(reach: Reach) -> None:
    start = reach.ask(Changes("", 0))
    found: list[Events] = []
    registry = reach.open()
    thread = threading.Thread(
        target=lambda: found.append(registry.follow(start.epoch, start.sequence, WAIT_SECONDS)),
        daemon=True,
    )
    thread.start()
    task = make_task()

    reach.ask(Add(task))

    thread.join(WAIT_SECONDS)
    [answer] = found
    assert [(e.task_id, e.state, e.attempt) for e in answer.events] == [(task.id, PENDING, 0)]
    assert not answer.reset


def test_following_gives_up_after_its_time(reach: Reach) -> None:
    start = reach.ask(Changes("", 0))
    answer = reach.registry.follow(start.epoch, start.sequence, 0.01)
    assert (answer.events, answer.reset, answer.sequence) == ([], False, start.sequence)


@pytest.mark.parametrize("position", [("", 0), ("another", 0), (None, 1), (None, -1)])
def test_following_from_where_there_is_nothing_is_a_reset_at_once(
    reach: Reach, position: tuple[str | None, int]
) -> None:
    reach.ask(Add(make_task()))
    now = reach.ask(Changes("", 0))
    epoch, ahead = position

    after = now.sequence + ahead if ahead >= 0 else -1
    answer = reach.registry.follow(now.epoch if epoch is None else epoch, after, WAIT_SECONDS)

    assert (answer.reset, answer.sequence, answer.epoch) == (True, now.sequence, now.epoch)
    assert answer.counts == reach.ask(Counts())


def test_a_follower_gets_every_event_once_and_in_order(reach: Reach) -> None:
    first = reach.ask(Changes("", 0)).sequence
    follower = Follower(reach)
    peer = reach.peer({"async": 100})
    for _ in range(40):
        claims = peer.add(*[make_task() for _ in range(10)]).claims
        for claim in claims:
            peer.succeed(claim)
    eventually(lambda: len(follower.events) >= 1_200, "everything was told")
    follower.stop()

    assert [e.sequence for e in follower.events] == list(range(first + 1, first + 1_201))
    states: dict[str, list[TaskState]] = {}
    for event in follower.events:
        states.setdefault(event.task_id, []).append(event.state)
    assert set(map(tuple, states.values())) == {(PENDING, PROCESSING, SUCCESS)}


def test_a_reply_is_bounded_and_the_next_goes_on(reach: Reach) -> None:
    start = reach.ask(Changes("", 0))
    peer = reach.peer({"async": 0})
    peer.add(*[make_task() for _ in range(MAX_EVENTS_IN_REPLY + 5)])

    portion = reach.registry.follow(start.epoch, start.sequence, 0)
    rest = reach.registry.follow(start.epoch, portion.events[-1].sequence, 0)

    first = start.sequence + 1
    assert [e.sequence for e in portion.events] == list(range(first, first + MAX_EVENTS_IN_REPLY))
    assert len(rest.events) == 5
    assert rest.events[0].sequence == portion.events[-1].sequence + 1


def event(sequence: int) -> Event:
    return Event(sequence, "id", "note", PENDING, 0.0, "submitted")


def test_a_lone_event_is_told_at_once_and_a_stream_in_portions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("afterwards.registry.engine.event_log.time.sleep", slept.append)
    now = [100.0]
    monkeypatch.setattr("afterwards.registry.engine.event_log.time.monotonic", lambda: now[0])
    log = EventLog(10)
    log.extend([event(1)])

    assert log.follow(log.epoch, 0, 0) == [event(1)]
    assert slept == [pytest.approx(FOLLOW_GATHER_SECONDS)]

    def wait_for(_: Callable[[], bool], seconds: float) -> bool:
        now[0] += seconds
        log._kept.append(event(2))
        log.sequence = 2
        return True

    monkeypatch.setattr(log._changed, "wait_for", wait_for)
    assert log.follow(log.epoch, 1, 5.0) == [event(2)]
    assert slept[1:] == [0.0]


def test_a_closed_log_lets_its_followers_go() -> None:
    log = EventLog(10)
    raised_error: list[BaseException] = []

    def follow() -> None:
        try:
            log.follow(log.epoch, 0, WAIT_SECONDS)
        except RegistryUnavailable as error:
            raised_error.append(error)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    eventually(lambda: log._followers, "it waits")
    began = time.monotonic()
    log.close()
    thread.join(WAIT_SECONDS)
    assert len(raised_error) == 1
    assert time.monotonic() - began < WAIT_SECONDS / 2


# -- progress -------------------------------------------------------------------------------------


def mark(answer: Any) -> tuple[int, float, str | None] | None:
    found: ProgressMark | None = answer.progress
    return None if found is None else found[:3]


def test_progress_is_told_and_shown_while_the_attempt_runs(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    before = reach.ask(Changes("", 0))

    assert peer.ask(Progress(claim.task_id, 1, 0.25, "a quarter")) is None
    assert peer.ask(Progress(claim.task_id, 1, 0.5)) is None

    [first, second] = reach.ask(Changes(before.epoch, before.sequence)).events
    assert (first.state, first.attempt, first.type) == (PROCESSING, 1, "note")
    assert first.progress[:3] == (1, 0.25, "a quarter")
    assert second.progress[:3] == (1, 0.5, None)
    assert first.at == first.progress.at
    assert mark(reach.ask(Inspect(claim.task_id))) == (1, 0.5, None)
    page = reach.ask(Find())
    assert {task_id: found[:2] for task_id, found in page.progress.items()} == {
        claim.task_id: (1, 0.5)
    }


@pytest.mark.parametrize("end", ["succeed", "fail", "release", "lose"])
def test_progress_ends_with_its_attempt(reach: Reach, end: str) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    peer.ask(Progress(claim.task_id, 1, 0.5))

    getattr(peer, end)(claim)

    assert mark(reach.ask(Inspect(claim.task_id))) is None
    assert reach.ask(Find()).progress == {}
    answer = peer.ask(Progress(claim.task_id, 1, 0.75))
    assert raised(answer) is StaleReport
    assert mark(reach.ask(Inspect(claim.task_id))) is None


def test_progress_of_what_does_not_run_is_stale(reach: Reach) -> None:
    waiting = make_task(executor="thread")
    peer = reach.peer()
    peer.add(waiting)
    claim = peer.run(make_task())
    before = reach.ask(Changes("", 0))

    for stale in (
        Progress("3f0ad2d0-0000-4000-8000-000000000000", 1, 0.5),
        Progress(waiting.id, 0, 0.5),
        Progress(claim.task_id, 2, 0.5),
    ):
        assert raised(peer.ask(stale)) is StaleReport

    assert reach.ask(Changes(before.epoch, before.sequence)).events == []


def test_progress_that_came_with_the_report_of_its_attempt_is_stale(reach: Reach) -> None:
    peer = reach.peer()
    claim = peer.run(make_task())
    reply = peer.exchange(Progress(claim.task_id, 1, 1.0), Succeeded(claim.task_id, 1, b"{}", 0.1))
    assert [raised(answer) for answer in reply.answers] == [StaleReport, None]


def test_late_progress_is_no_refused_report_and_writes_nothing(bench: Bench) -> None:
    registry = bench.registry()
    peer = bench.peer(registry)
    claim = peer.run(bench.task())

    assert raised(peer.ask(Progress(claim.task_id, 9, 0.5))) is StaleReport
    assert peer.ask(Progress(claim.task_id, 1, 0.5)) is None

    assert registry.views.refused_reports == 0
    assert ask(registry, Inspect(claim.task_id)).progress is not None
    peer.succeed(claim)
    assert registry.views._progress == {}, "kept for ever"


class Holder:
    """Claims of nobody."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: {}


class NoHttp:
    version = 0

    def counts(self) -> WorkerCounts:
        return WorkerCounts({}, {})


def sent_progress(client: RegistryClient) -> list[Progress]:
    requests = [pending.request for pending in client.next_batch() or []]
    return [request for request in requests if isinstance(request, Progress)]


def test_only_the_last_word_on_a_task_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("afterwards.registry.client.client.time.monotonic", lambda: now[0])
    client = RegistryClient(Holder(), NoHttp())
    for percent in range(100):
        client.progress("a", 1, percent / 100)
    client.progress("b", 2, 0.5, "half")

    sent = sent_progress(client)
    assert sorted(sent) == [Progress("a", 1, 0.99), Progress("b", 2, 0.5, "half")]

    client.progress("a", 1, 1.0)
    assert sent_progress(client) == []
    now[0] += PROGRESS_SECONDS
    assert sent_progress(client) == [Progress("a", 1, 1.0)]
    assert sent_progress(client) == []


def test_progress_that_was_on_its_way_when_the_connection_broke_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = RegistryClient(Holder(), NoHttp())
    client.progress("a", 1, 0.5)
    assert sent_progress(client) == [Progress("a", 1, 0.5)]

    again = [pending.request for pending in client.first_batch()]

    assert not any(isinstance(request, Progress) for request in again)
