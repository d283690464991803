"""Executors whose calls run in hosts: what becomes of calls when hosts end, and of hosts."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from afterwards_executors.base import End, Executor, Outcome, Work
from afterwards_executors.hosts.settings import HostSettings
from tests.executors import work
from tests.executors.conftest import DEADLINE_SECONDS, children, is_gone, is_running, wait_until

pytestmark = pytest.mark.processes


@pytest.fixture
def executor(make_executor: Callable[..., Executor]) -> Executor:
    return make_executor("process", slots=2)


@pytest.fixture
def any_executor(hosted: str, make_executor: Callable[..., Executor]) -> Executor:
    """An executor of each kind."""
    return make_executor(hosted, slots=2)


def work_of(executor: Executor, function: Callable[..., object], *args: object) -> Work:
    """A call of the function, on whichever executor."""
    if executor.kind == "async":
        return Work(work.call_plainly, (function, *args))
    return Work(function, args)


def run(executor: Executor, function: Callable[..., object], *args: object) -> Outcome:
    return executor.submit(work_of(executor, function, *args)).result(DEADLINE_SECONDS)


def pid_of_child(executor: Executor) -> int:
    return int(run(executor, work.report_pid).value or b"0")


def pid_in(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text(encoding="ascii"))
    return int(path.read_text(encoding="ascii"))


# -- one child ends --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "args", "error"),
    [
        (work.exit_at_once, (3,), "exited with status 3"),
        (work.exit_at_once, (0,), "exited with status 0"),
        (work.read_address_zero, (), "was killed by SIGSEGV"),
        (work.kill_itself, (signal.SIGKILL,), "was killed by SIGKILL, as the kernel does when"),
        (work.kill_itself, (signal.SIGABRT,), "was killed by SIGABRT"),
        (work.kill_itself, (40,), "was killed by signal 40"),
    ],
)
def test_a_child_that_dies_costs_its_own_call_and_says_how(
    executor: Executor,
    gate: Path,
    function: Callable[..., object],
    args: tuple[object, ...],
    error: str,
) -> None:
    other = executor.submit(Work(work.wait_for, (str(gate),)))
    wait_until(lambda: is_running(gate))
    outcome = run(executor, function, *args)

    assert (outcome.end, outcome.transient) == (End.LOST, True)
    assert error in (outcome.error or "")
    assert run(executor, work.succeed).end is End.SUCCEEDED
    gate.touch()
    assert other.result(DEADLINE_SECONDS).end is End.SUCCEEDED


@pytest.mark.parametrize(
    ("function", "args", "error"),
    [
        (work.exit_at_once, (3,), "exited with status 3"),
        (work.read_address_zero, (), "was killed by SIGSEGV"),
        (work.kill_itself, (signal.SIGKILL,), "was killed by SIGKILL, as the kernel does when"),
    ],
)
def test_a_host_that_dies_with_one_call_costs_that_call_and_says_how(
    any_executor: Executor, function: Callable[..., object], args: tuple[object, ...], error: str
) -> None:
    outcome = run(any_executor, function, *args)

    assert (outcome.end, outcome.transient, outcome.crowd) == (End.LOST, True, 0)
    assert error in (outcome.error or "")
    assert run(any_executor, work.succeed).end is End.SUCCEEDED
    assert any_executor.slots().free == 2


def test_a_child_killed_from_outside_costs_its_call(executor: Executor, gate: Path) -> None:
    future = executor.submit(Work(work.write_pid_and_wait, (str(gate),)))
    os.kill(pid_in(gate.with_name("gate.pid")), signal.SIGKILL)

    assert future.result(DEADLINE_SECONDS).end is End.LOST


def test_an_idle_host_that_is_killed_costs_nothing(any_executor: Executor) -> None:
    first = pid_of_child(any_executor)
    os.kill(first, signal.SIGKILL)
    second = pid_of_child(any_executor)

    assert second != first
    wait_until(lambda: is_gone(first))


def test_a_host_that_dies_before_it_picks_its_call_up_costs_nothing(
    any_executor: Executor, gate: Path
) -> None:
    gate.touch()
    pid = pid_of_child(any_executor)
    os.kill(pid, signal.SIGSTOP)
    future = any_executor.submit(work_of(any_executor, work.count_and_wait, str(gate)))
    # It is on the wire, unread.
    wait_until(lambda: future.has_host)  # type: ignore[attr-defined] # a host's
    assert any_executor._crew.host_of(future).pid == pid  # type: ignore[attr-defined] # a host's
    os.kill(pid, signal.SIGKILL)

    assert future.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    runs = gate.with_name("gate.count").read_text(encoding="ascii").split()
    assert len(runs) == 1
    assert int(runs[0]) != pid


def test_a_call_that_two_hosts_have_died_with_before_it_began_starves(
    any_executor: Executor, gate: Path
) -> None:
    pid = pid_of_child(any_executor)
    os.kill(pid, signal.SIGSTOP)
    future = any_executor.submit(work_of(any_executor, work.count_and_wait, str(gate)))
    wait_until(lambda: future.has_host)  # type: ignore[attr-defined] # a host's
    future.hosts_lost = 1  # type: ignore[attr-defined] # a host's
    os.kill(pid, signal.SIGKILL)
    outcome = future.result(DEADLINE_SECONDS)

    assert (outcome.end, outcome.transient) == (End.STARVED, True)
    assert "its host was killed by SIGKILL" in (outcome.error or "")
    assert not gate.with_name("gate.count").exists()


def test_a_fork_that_holds_the_wire_open_hides_no_death(any_executor: Executor, gate: Path) -> None:
    outcome = run(any_executor, work.start_a_sleeper_and_die, str(gate))

    assert (outcome.end, outcome.error) == (
        End.LOST,
        "The process that ran it exited with status 3",
    )
    wait_until(lambda: is_gone(pid_in(gate.with_name("gate.pid"))))


@pytest.mark.parametrize("hosted", ["async", "process"])
def test_a_host_that_closes_its_wire_is_replaced(any_executor: Executor) -> None:
    executor = any_executor
    outcome = run(executor, work.close_sockets)

    assert (outcome.end, outcome.error) == (
        End.LOST,
        "The process that ran it closed its connection",
    )
    assert run(executor, work.succeed).end is End.SUCCEEDED


def test_an_answer_that_cannot_be_sent_costs_the_call_and_the_host(any_executor: Executor) -> None:
    outcome = run(any_executor, work.close_sockets_and_return)

    assert outcome.end is End.LOST
    assert run(any_executor, work.succeed).end is End.SUCCEEDED


def test_an_answer_that_cannot_be_read_costs_the_call_and_the_host(
    any_executor: Executor,
) -> None:
    executor = any_executor
    before = pid_of_child(executor)
    outcome = run(executor, work.scribble, b"\0\0\0\3\xff\0\0\0\1abc")

    assert outcome.end is End.LOST
    assert outcome.error == "The process that ran it gave an answer that cannot be read"
    assert pid_of_child(executor) != before


def test_a_fork_that_comes_back_from_the_call_answers_nobody(any_executor: Executor) -> None:
    executor = any_executor
    assert run(executor, work.fork_and_return_twice).value == b"parent"
    assert run(executor, work.succeed, b"next").value == b"next"


# -- stopping --------------------------------------------------------------------------------------


def test_a_child_that_ignores_sigterm_is_timed_out(executor: Executor, gate: Path) -> None:
    future = executor.submit(Work(work.ignore_sigterm, (str(gate),), timeout_seconds=0.2))

    assert future.result(DEADLINE_SECONDS).end is End.TIMED_OUT
    assert executor.slots().free == 2


@pytest.mark.usefixtures("looked_after_often")
def test_a_host_that_was_stopped_in_mid_sentence_is_ended_and_its_call_begins_elsewhere(
    hosted: str, make_executor: Callable[..., Executor]
) -> None:
    executor = make_executor(hosted, 2, HostSettings(silent_seconds=0.5))
    pid = pid_of_child(executor)
    os.kill(pid, signal.SIGSTOP)
    # More than the wire holds: neither the request nor an answer can ever be complete.
    outcome = run(executor, work.take, b"x" * 5_000_000)

    assert outcome.end is End.SUCCEEDED
    assert is_gone(pid)


def test_a_host_that_was_stopped_while_it_runs_a_call_is_timed_out(
    hosted: str, make_executor: Callable[..., Executor], gate: Path
) -> None:
    executor = make_executor(hosted, 2, HostSettings(silent_seconds=0.5))
    call = work_of(executor, work.write_pid_and_wait, str(gate))
    if hosted == "async":
        call = replace(call, function=work.call_aside)
    future = executor.submit(replace(call, timeout_seconds=1.0))
    pid = pid_in(gate.with_name("gate.pid"))
    os.kill(pid, signal.SIGSTOP)

    assert future.result(DEADLINE_SECONDS).end is End.TIMED_OUT
    assert is_gone(pid)


def test_when_a_stop_is_reported_the_child_is_gone(executor: Executor, gate: Path) -> None:
    future = executor.submit(Work(work.write_pid_and_wait, (str(gate),)))
    pid = pid_in(gate.with_name("gate.pid"))
    executor.cancel(future, "not wanted")

    assert future.result(DEADLINE_SECONDS).end is End.CANCELLED
    assert is_gone(pid)


def test_what_a_call_has_started_is_killed_with_it(executor: Executor, gate: Path) -> None:
    future = executor.submit(Work(work.start_a_sleeper, (str(gate),)))
    sleeper = pid_in(gate.with_name("gate.pid"))
    executor.cancel(future, "not wanted")
    future.result(DEADLINE_SECONDS)

    wait_until(lambda: is_gone(sleeper))


def test_a_shutdown_leaves_no_child(make_executor: Callable[..., Executor], gate: Path) -> None:
    before = children()
    executor = make_executor("process", slots=3)
    futures = [executor.submit(Work(work.wait_for, (str(gate),))) for _ in range(2)]
    idle = pid_of_child(executor)
    wait_until(lambda: is_running(gate))
    assert len(children() - before) == 3
    executor.shutdown(5.0)

    assert all(future.result(0).end is End.CANCELLED for future in futures)
    assert is_gone(idle)
    assert children() <= before


def test_a_shutdown_without_any_time_leaves_no_child_either(executor: Executor) -> None:
    pid = pid_of_child(executor)
    executor.shutdown(0.0)

    assert is_gone(pid)


# -- what goes over the pipe -----------------------------------------------------------------------


def test_a_default_time_out_of_sockets_in_the_parent_costs_no_child(executor: Executor) -> None:
    # As a task's module might say when it is imported.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.01)
    try:
        pids = {pid_of_child(executor) for _ in range(5)}
    finally:
        socket.setdefaulttimeout(before)

    assert len(pids) == 1


def test_a_default_time_out_of_sockets_in_the_main_module_costs_no_child(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        "import socket, time\n"
        "socket.setdefaulttimeout(0.01)\n"  # children import this, too
        "from afterwards_executors import EXECUTORS\n"
        "from afterwards_executors.base import Work\n"
        "from tests.executors import work\n"
        "if __name__ == '__main__':\n"
        "    executor = EXECUTORS['process'](1); executor.start()\n"
        "    for _ in range(5):\n"
        "        print(executor.submit(Work(work.report_pid)).result(20))\n"
        "        time.sleep(0.05)\n"  # longer than the default allows
        "    executor.shutdown(5)\n"
    )
    printed = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )

    outcomes = printed.stdout.splitlines()
    assert len(outcomes) == 5
    assert len({outcome.partition(", run_seconds")[0] for outcome in outcomes}) == 1, outcomes
    assert printed.stderr == ""


def test_large_arguments_and_results_pass(any_executor: Executor) -> None:
    executor = any_executor
    value = random.Random(1).randbytes(2_000_000)

    assert run(executor, work.succeed, value).value == value


def test_arguments_that_cannot_be_pickled_are_a_failure(any_executor: Executor) -> None:
    executor = any_executor
    pid = pid_of_child(executor)
    outcome = run(executor, work.take, threading.Lock())

    assert outcome.end is End.FAILED
    assert (outcome.error or "").startswith("The call cannot be sent to a host: TypeError: ")
    assert pid_of_child(executor) == pid


def test_a_function_that_cannot_be_imported_is_a_failure(
    any_executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_here() -> None:
        """Importable by name in this process, but not in a child."""

    only_here.__qualname__ = "only_here"
    monkeypatch.setattr(work, "only_here", only_here, raising=False)
    monkeypatch.setattr(only_here, "__module__", work.__name__)
    outcome = any_executor.submit(Work(only_here)).result(DEADLINE_SECONDS)

    assert outcome.end is End.FAILED
    assert (outcome.error or "").startswith("The call cannot be loaded in its host: ")


def test_an_outcome_that_cannot_be_sent_is_a_failure(any_executor: Executor) -> None:
    executor = any_executor
    pid = pid_of_child(executor)
    outcome = run(executor, work.return_a_wrong_outcome)

    assert outcome.end is End.FAILED
    assert (outcome.error or "").startswith("The outcome cannot be sent: TypeError: ")
    assert pid_of_child(executor) == pid


# -- children --------------------------------------------------------------------------------------


def test_one_call_after_the_other_needs_one_child(
    make_executor: Callable[..., Executor],
) -> None:
    executor = make_executor("process", slots=8)

    assert len({pid_of_child(executor) for _ in range(20)}) == 1


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
)
def test_a_request_to_stop_costs_a_host_nothing(
    any_executor: Executor, gate: Path, number: signal.Signals
) -> None:
    future = any_executor.submit(work_of(any_executor, work.write_pid_and_wait, str(gate)))
    os.kill(pid_in(gate.with_name("gate.pid")), number)
    gate.touch()

    assert future.result(DEADLINE_SECONDS).end is End.SUCCEEDED


@pytest.mark.parametrize("start", [work.terminate_a_fork, work.terminate_a_program])
def test_what_a_call_starts_can_be_terminated(
    any_executor: Executor, start: Callable[..., object]
) -> None:
    assert run(any_executor, start).value == str(-signal.SIGTERM).encode()


def test_a_child_loads_no_event_loop(executor: Executor) -> None:
    loaded = (run(executor, work.loaded_modules).value or b"").decode().split()

    # The functions of these tests import asyncio themselves.
    assert not {
        "afterwards_executors.aio",
        "afterwards_executors.hosts",
        "uvloop",
        "pytest",
    } & set(loaded)


@pytest.fixture
def parent(hosted: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a running call, and a further host if it is for processes."""
    script = (
        "import sys, time\n"
        "from afterwards_executors import EXECUTORS; from afterwards_executors.base import Work\n"
        "from tests.executors import work\n"
        f"executor = EXECUTORS[{hosted!r}](2); executor.start()\n"
        "def run(function, *args):\n"
        "    if executor.kind == 'async':\n"
        "        args, function = (function, *args), work.call_aside\n"
        "    return executor.submit(Work(function, args))\n"
        f"run(work.write_pid_and_wait, {str(tmp_path / 'gate')!r})\n"
        "print(run(work.report_pid).result(20).value.decode(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def pids_of_children(parent: subprocess.Popen[str], tmp_path: Path) -> list[int]:
    assert parent.stdout is not None
    return [pid_in(tmp_path / "gate.pid"), int(parent.stdout.readline())]


def test_when_the_parent_is_killed_its_children_die(
    parent: subprocess.Popen[str], tmp_path: Path
) -> None:
    pids = pids_of_children(parent, tmp_path)
    parent.kill()

    wait_until(lambda: all(is_gone(pid) for pid in pids))


def test_a_parent_that_forgets_the_shutdown_ends_all_the_same_and_quietly(
    parent: subprocess.Popen[str], tmp_path: Path
) -> None:
    pids = pids_of_children(parent, tmp_path)
    _, errors = parent.communicate("", timeout=DEADLINE_SECONDS)

    assert (parent.returncode, errors) == (0, "")
    wait_until(lambda: all(is_gone(pid) for pid in pids))


# -- under fire ------------------------------------------------------------------------------------


def test_kills_during_bursts_of_small_results_cost_what_ran_at_most(
    any_executor: Executor,
) -> None:
    executor = any_executor
    before = children()
    chance = random.Random(7)
    kills = 0
    ends: Counter[End] = Counter()
    pending: set[Future[Outcome]] = set()
    while kills < (60 if executor.kind == "process" else 15):
        pending |= {
            executor.submit(work_of(executor, work.succeed, b"x" * 2000)) for _ in range(40)
        }
        wait(pending, chance.random() * 0.004)
        for pid in children() - before:
            with suppress(ProcessLookupError):  # reaped since
                os.kill(pid, signal.SIGKILL)
                kills += 1
        done, pending = wait(pending, DEADLINE_SECONDS)
        assert not pending, "a call hangs"
        ends.update(future.result().end for future in done)

    # A host has two calls at most. STARVED: killed before it had picked up its call, as was the
    # next one.
    at_once = 1 if executor.kind == "process" else 2
    assert ends[End.LOST] + ends[End.SUSPECTED] + ends[End.STARVED] <= kills * at_once
    assert ends[End.SUCCEEDED] + ends[End.LOST] + ends[End.SUSPECTED] + ends[End.STARVED] == sum(
        ends.values()
    )
    assert ends[End.SUCCEEDED] >= 60
    assert executor.slots().free == 2
