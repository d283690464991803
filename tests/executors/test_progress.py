"""Progress of running calls arrives, whichever executor runs them; and never too much."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from afterwards_executors import current_line, progress, send_progress
from afterwards_executors.base import End, Executor, Work
from afterwards_executors.board import Board, Pen
from afterwards_executors.calls import Call as RunningCall
from afterwards_executors.calls import Calls
from afterwards_executors.frames import Kind, frame
from afterwards_executors.inside.line import HostLine
from afterwards_executors.inside.wire import Wire
from afterwards_executors.progress import INTERVAL_SECONDS, ProgressSender
from tests.executors import work
from tests.executors.conftest import DEADLINE_SECONDS, is_running, wait_until

Call = Callable[..., Work]


class Heard:
    """Progress as it arrives, with the time."""

    def __init__(self) -> None:
        self.progress: list[bytes] = []
        self.times: list[float] = []

    def __call__(self, data: bytes) -> None:
        self.progress.append(data)
        self.times.append(time.monotonic())


@pytest.fixture
def heard() -> Heard:
    return Heard()


# -- every executor --------------------------------------------------------------------------------


def test_progress_arrives_while_the_call_runs(
    executor: Executor, call: Call, gate: Path, heard: Heard
) -> None:
    future = executor.submit(call("progress_and_wait", str(gate), b"half", on_progress=heard))
    wait_until(lambda: heard.progress)

    assert heard.progress == [b"half"]
    assert not future.done()
    gate.touch()
    assert future.result(DEADLINE_SECONDS).end is End.SUCCEEDED


def test_of_many_in_quick_succession_the_last_arrives(
    executor: Executor, call: Call, gate: Path, heard: Heard
) -> None:
    quick = [str(number).encode() for number in range(2_000)]
    future = executor.submit(call("progress_and_wait", str(gate), *quick, on_progress=heard))
    wait_until(lambda: heard.progress and heard.progress[-1] == quick[-1])

    assert len(heard.progress) < 20
    assert [int(data) for data in heard.progress] == sorted(int(data) for data in heard.progress)
    gate.touch()
    assert future.result(DEADLINE_SECONDS).end is End.SUCCEEDED


def test_no_progress_comes_after_the_outcome(executor: Executor, call: Call, heard: Heard) -> None:
    for _ in range(5):
        work_ = call("progress_and_end", b"first", b"second", on_progress=heard)
        assert executor.submit(work_).result(DEADLINE_SECONDS).end is End.SUCCEEDED
        at_the_end = len(heard.progress)
        # Whatever was put off would come within the time of one more message.
        wait_until(lambda: not is_reminding())
        assert len(heard.progress) == at_the_end
    assert b"second" not in heard.progress


def is_reminding() -> bool:
    return any(thread.name == "executor-progress" for thread in threading.enumerate())


def test_progress_that_is_too_long_is_the_call_s_error(executor: Executor, call: Call) -> None:
    outcome = executor.submit(call("note_too_much")).result(DEADLINE_SECONDS)

    assert outcome.end is End.FAILED
    assert outcome.error == "ValueError: progress may have 4096 bytes, not 4097"


def test_nobody_has_to_listen(executor: Executor, call: Call) -> None:
    outcome = executor.submit(call("progress_and_end", b"x")).result(DEADLINE_SECONDS)
    assert outcome.end is End.SUCCEEDED


def test_a_listener_that_raises_harms_nobody(
    executor: Executor, call: Call, gate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: bytes) -> None:
        raise ValueError("listener")

    future = executor.submit(call("progress_and_wait", str(gate), b"x", on_progress=fail))
    wait_until(lambda: "progress could not be delivered" in caplog.text)
    gate.touch()
    assert future.result(DEADLINE_SECONDS).end is End.SUCCEEDED


def test_a_thread_of_the_call_may_send_as_well(
    executor: Executor, call: Call, gate: Path, heard: Heard
) -> None:
    future = executor.submit(call("progress_from_a_thread", str(gate), on_progress=heard))
    wait_until(lambda: heard.progress)

    assert heard.progress == [b"from a thread"]
    gate.touch()
    assert future.result(DEADLINE_SECONDS).end is End.SUCCEEDED


def test_progress_from_many_threads_cut_into_no_outcome(
    executor: Executor, call: Call, gate: Path, heard: Heard
) -> None:
    future = executor.submit(call("progress_all_the_while", str(gate), on_progress=heard))
    wait_until(lambda: len(heard.progress) > 2)
    gate.touch()
    outcome = future.result(DEADLINE_SECONDS)

    assert (outcome.end, outcome.value) == (End.SUCCEEDED, b"v" * 3_000_000)
    assert set(heard.progress) == {b"n" * 1000}
    # The threads still send, but not for the call that comes next.
    heard_of_the_next, next_gate = Heard(), gate.with_name("next")
    successor = executor.submit(call("wait_for", str(next_gate), on_progress=heard_of_the_next))
    wait_until(gate.with_name("gate.over").exists)
    next_gate.touch()
    assert successor.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    assert heard_of_the_next.progress == []


# -- asking to stop --------------------------------------------------------------------------------

both_threads = pytest.mark.parametrize(
    "threads",
    [pytest.param("thread", marks=pytest.mark.processes), pytest.param("thread in process")],
)


@both_threads
def test_a_thread_that_is_cancelled_can_see_it_and_stop(
    threads: str, make_executor: Callable[..., Executor], gate: Path
) -> None:
    executor = make_executor(threads)
    future = executor.submit(Work(work.stop_when_asked, (str(gate),)))
    wait_until(lambda: is_running(gate))

    assert not executor.cancel(future, "not wanted")
    outcome = future.result(DEADLINE_SECONDS)
    assert (outcome.end, outcome.error) == (End.CANCELLED, "as asked")


@both_threads
def test_a_thread_whose_time_is_up_can_see_it_and_free_its_slot(
    threads: str, make_executor: Callable[..., Executor], gate: Path
) -> None:
    executor = make_executor(threads)
    future = executor.submit(Work(work.stop_when_asked, (str(gate),), timeout_seconds=0.05))

    assert future.result(DEADLINE_SECONDS).end is End.TIMED_OUT
    wait_until(lambda: executor.slots().stuck == 0)


# -- hosts -----------------------------------------------------------------------------------------


@pytest.fixture
def children(make_executor: Callable[..., Executor]) -> Executor:
    return make_executor("process", slots=1)


@pytest.mark.processes
def test_a_call_that_never_stops_sending_is_timed_out(
    hosted: str, make_executor: Callable[..., Executor], gate: Path, heard: Heard
) -> None:
    executor = make_executor(hosted, slots=1)
    function = (
        work.write_progress_by_hand_async if hosted == "async" else work.write_progress_by_hand
    )
    flood = Work(function, (str(gate),), timeout_seconds=0.5, on_progress=heard)
    started = time.monotonic()
    outcome = executor.submit(flood).result(DEADLINE_SECONDS)

    assert outcome.end is End.TIMED_OUT
    assert len(heard.progress) <= (time.monotonic() - started) / INTERVAL_SECONDS + 2
    successor = Work(work.succeed_async if hosted == "async" else work.succeed)
    assert executor.submit(successor).result(DEADLINE_SECONDS).end is End.SUCCEEDED


@pytest.mark.processes
def test_a_call_that_never_stops_sending_can_be_cancelled(
    hosted: str, make_executor: Callable[..., Executor], gate: Path
) -> None:
    executor = make_executor(hosted, slots=1)
    function = (
        work.write_progress_by_hand_async if hosted == "async" else work.write_progress_by_hand
    )
    future = executor.submit(Work(function, (str(gate),)))
    wait_until(lambda: is_running(gate))

    assert executor.cancel(future, "not wanted", by_force=True)
    assert future.result(DEADLINE_SECONDS).end is End.CANCELLED


@pytest.mark.processes
def test_a_fork_of_a_child_sends_nothing(children: Executor, gate: Path, heard: Heard) -> None:
    future = children.submit(Work(work.progress_from_a_fork, (str(gate),), on_progress=heard))
    wait_until(lambda: heard.progress)
    gate.touch()

    assert future.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    assert heard.progress == [b"from the child"]


def test_progress_that_the_pipe_has_no_room_for_comes_later_and_holds_nobody_up() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE_SECONDS)
    sent = 0
    with ours, theirs:
        with suppress(BlockingIOError):
            while True:
                sent += theirs.send(b"." * 4096, socket.MSG_DONTWAIT)
        HostLine(Wire(theirs, Pen(Board().fileno())), 5).send_progress(b"progress")
        expected = b"." * sent + frame(Kind.PROGRESS, 5, b"progress")
        incoming = b""
        while len(incoming) < len(expected):
            incoming += ours.recv(65_536)
    assert incoming == expected


# -- the end of a call -----------------------------------------------------------------------------


def test_first_progress_that_comes_after_the_outcome_is_dropped(heard: Heard) -> None:
    calls, call = Calls(1), executor_call(heard)
    calls.admit(call)
    calls.finish(call, work.OK)
    call.send_progress(b"late")
    assert heard.progress == []


def test_the_outcome_waits_for_progress_that_is_being_delivered() -> None:
    finishers: list[threading.Thread] = []
    was_done: list[bool] = []

    def listen(_: bytes) -> None:
        finishers.append(threading.Thread(target=calls.finish, args=[call, work.OK]))
        finishers[0].start()
        wait_until(lambda: call.verdict is not None)
        was_done.append(call.done())

    calls, call = Calls(1), executor_call(listen)
    calls.admit(call)
    call.send_progress(b"x")
    finishers[0].join(DEADLINE_SECONDS)
    assert was_done == [False]
    assert call.done()


def executor_call(on_progress: Callable[[bytes], None]) -> RunningCall:
    return RunningCall(Work(work.succeed, on_progress=on_progress))


# -- the sender -----------------------------------------------------------------------------------


@pytest.fixture
def in_quick_succession(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(progress, "INTERVAL_SECONDS", 0.02)
    yield
    wait_until(lambda: not is_reminding())


@pytest.mark.usefixtures("in_quick_succession")
def test_what_cannot_be_delivered_now_is_delivered_later() -> None:
    attempts: list[bytes] = []

    def deliver(data: bytes) -> bool:
        attempts.append(data)
        return len(attempts) > 2

    ProgressSender(deliver).send(b"x")
    wait_until(lambda: len(attempts) == 3)
    wait_until(lambda: not is_reminding())
    assert attempts == [b"x"] * 3


@pytest.mark.usefixtures("in_quick_succession")
def test_deliveries_are_an_interval_apart(heard: Heard) -> None:
    def deliver(data: bytes) -> bool:
        heard(data)
        return True

    sender = ProgressSender(deliver)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        sender.send(b"x")

    apart = [later - earlier for earlier, later in zip(heard.times, heard.times[1:], strict=False)]
    assert apart
    assert min(apart) > 0.018


@pytest.mark.usefixtures("in_quick_succession")
def test_nothing_is_delivered_after_the_close() -> None:
    delivered: list[bytes] = []

    def deliver(data: bytes) -> bool:
        delivered.append(data)
        return True

    sender = ProgressSender(deliver)
    sender.send(b"first")
    sender.send(b"second")
    sender.close()
    sender.send(b"third")
    wait_until(lambda: not is_reminding())
    assert delivered == [b"first"]


def test_outside_of_a_call_there_is_no_line() -> None:
    assert current_line() is None
    send_progress(b"to nobody")
