"""Which host takes a call, and when hosts are started, replaced and ended."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from afterwards_executors.base import End, Executor, Outcome, Work
from afterwards_executors.hosts import host
from afterwards_executors.hosts.settings import HostSettings
from tests.executors import guests, work
from tests.executors.conftest import DEADLINE_SECONDS, children, is_running, wait_until

pytestmark = pytest.mark.processes


def submit(
    executor: Executor, function: Callable[..., Any], *args: Any, **options: Any
) -> Future[Outcome]:
    if executor.kind == "async":
        return executor.submit(Work(work.call_aside, (function, *args), **options))
    return executor.submit(Work(function, args, **options))


def pid(executor: Executor, **options: Any) -> int:
    return int(submit(executor, work.report_pid, **options).result(DEADLINE_SECONDS).value or b"0")


def waiting(executor: Executor, gate: Path, **options: Any) -> Future[Outcome]:
    future = submit(executor, work.write_pid_and_wait, str(gate), **options)
    wait_until(lambda: is_running(gate))
    return future


def pid_at(gate: Path) -> int:
    return int(gate.with_name(gate.name + ".pid").read_text(encoding="ascii"))


# -- recycling -------------------------------------------------------------------------------------


def test_after_so_many_calls_a_host_is_replaced(
    hosted: str, make_executor: Callable[..., Executor]
) -> None:
    executor = make_executor(hosted, 1, HostSettings(max_calls=3))

    assert sorted(Counter(pid(executor) for _ in range(9)).values()) == [3, 3, 3]


def test_no_call_is_lost_when_hosts_are_replaced(
    hosted: str, make_executor: Callable[..., Executor]
) -> None:
    executor = make_executor(hosted, 4, HostSettings(max_calls=20))
    futures = [submit(executor, work.succeed) for _ in range(100)]
    wait(futures, 2 * DEADLINE_SECONDS)

    assert [future.result(0).end for future in futures] == [End.SUCCEEDED] * 100


@pytest.mark.usefixtures("looked_after_often")
def test_a_host_with_too_much_memory_is_replaced_once_its_calls_have_ended(
    hosted: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    slots = 1 if hosted == "process" else 2
    executor = make_executor(hosted, slots, HostSettings(max_memory_bytes=120 * 2**20))
    before = pid(executor)
    neighbours = [] if hosted == "process" else [waiting(executor, tmp_path / "gate")]
    assert submit(executor, guests.leak_memory, 200 * 2**20).result(DEADLINE_SECONDS).value

    wait_until(lambda: pid(executor) != before)
    assert not any(future.done() for future in neighbours)
    (tmp_path / "gate").touch()
    assert [future.result(DEADLINE_SECONDS).end for future in neighbours] == [
        End.SUCCEEDED for _ in neighbours
    ]


@pytest.mark.usefixtures("looked_after_often")
def test_a_host_that_idles_ends(hosted: str, make_executor: Callable[..., Executor]) -> None:
    before = children()
    executor = make_executor(hosted, 2, HostSettings(idle_seconds=0.2))
    first = pid(executor)
    wait_until(lambda: children() <= before)

    assert pid(executor) != first


@pytest.mark.usefixtures("looked_after_often")
def test_a_host_that_is_kept_is_started_at_once_and_again_and_stays(
    hosted: str, make_executor: Callable[..., Executor]
) -> None:
    before = children()
    executor = make_executor(hosted, 2, HostSettings(keep=1, idle_seconds=0.1))
    (first,) = wait_until(lambda: children() - before)
    assert pid(executor) == first
    os.kill(first, signal.SIGKILL)
    (second,) = wait_until(lambda: children() - before - {first})

    assert pid(executor) == second


def test_a_renewed_executor_runs_further_calls_in_fresh_hosts(
    hosted: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(hosted, 2)
    old = waiting(executor, tmp_path / "gate")
    executor.renew(HostSettings(environment={**os.environ, "GENERATION": "2"}))  # type: ignore[attr-defined] # hosted ones only have it
    outcome = submit(executor, guests.report_variable, "GENERATION").result(DEADLINE_SECONDS)

    assert outcome.value == b"2"
    assert not old.done()
    (tmp_path / "gate").touch()
    assert old.result(DEADLINE_SECONDS).end is End.SUCCEEDED


# -- crowds ----------------------------------------------------------------------------------------


def test_a_call_of_a_crowd_of_one_is_alone_in_its_host(
    hosted: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(hosted, 4)
    futures = [
        waiting(executor, tmp_path / "one"),
        waiting(executor, tmp_path / "suspect", crowd=1),
        waiting(executor, tmp_path / "other", crowd=1),
    ]

    assert len({pid_at(tmp_path / name) for name in ("one", "suspect", "other")}) == 3
    third = submit(executor, work.write_pid_and_wait, str(tmp_path / "third"), crowd=1)
    if hosted == "process":
        wait_until(lambda: is_running(tmp_path / "third"))
    else:  # there are two hosts for suspects
        assert pid(executor) == pid_at(tmp_path / "one")
        assert not is_running(tmp_path / "third")
    for name in ("one", "suspect", "other", "third"):
        (tmp_path / name).touch()
    assert {one.result(DEADLINE_SECONDS).end for one in (*futures, third)} == {End.SUCCEEDED}


@pytest.mark.parametrize("shared", ["async", "thread"])
def test_a_crowd_shares_a_host_up_to_its_size(
    shared: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(shared, 10)
    gates = [tmp_path / str(number) for number in range(4)]
    for gate in gates:
        waiting(executor, gate, crowd=2)

    assert sorted(Counter(pid_at(gate) for gate in gates).values()) == [2, 2]
    for gate in gates:
        gate.touch()


@pytest.mark.parametrize("shared", ["async", "thread"])
def test_a_host_that_dies_makes_suspects_of_those_that_had_begun(
    shared: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(shared, 10)
    futures = [waiting(executor, tmp_path / str(number)) for number in range(3)]
    os.kill(pid_at(tmp_path / "0"), signal.SIGKILL)
    outcomes = [future.result(DEADLINE_SECONDS) for future in futures]

    assert [(one.end, one.crowd, one.transient) for one in outcomes] == [
        (End.SUSPECTED, 3, True)
    ] * 3


# -- hosts that do not come to be ------------------------------------------------------------------


def settings_with(tmp_path: Path, sitecustomize: str) -> HostSettings:
    """Has every host run this as it starts."""
    (tmp_path / "sitecustomize.py").write_text(sitecustomize)
    return HostSettings(environment={**os.environ, "PYTHONPATH": str(tmp_path)})


def test_a_host_that_never_starts_starves_its_call_and_is_ended(
    hosted: str,
    make_executor: Callable[..., Executor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host, "START_TIMEOUT_SECONDS", 0.5)
    before = children()
    settings = settings_with(tmp_path, "import time; time.sleep(3600)")
    executor = make_executor(hosted, 1, settings)
    outcome = submit(executor, work.succeed).result(DEADLINE_SECONDS)

    assert (outcome.end, outcome.error) == (
        End.STARVED,
        "Could not be started: its host did not start in 0.5 s",
    )
    assert children() <= before


def test_a_host_that_ends_as_it_starts_starves_its_call_and_says_how(
    hosted: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    settings = settings_with(tmp_path, "import os; os._exit(5)")
    executor = make_executor(hosted, 1, settings)
    outcome = submit(executor, work.succeed).result(DEADLINE_SECONDS)

    assert (outcome.end, outcome.error) == (
        End.STARVED,
        "Could not be started: its host exited with status 5",
    )
    assert executor.slots().free == 1


def test_a_host_of_another_version_is_given_no_calls(
    hosted: str, make_executor: Callable[..., Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "VERSION", 99)
    executor = make_executor(hosted, 1)
    outcome = submit(executor, work.succeed).result(DEADLINE_SECONDS)

    assert (outcome.end, outcome.error) == (
        End.STARVED,
        "Could not be started: its host speaks another version of the wire",
    )


# -- bounds ----------------------------------------------------------------------------------------


def test_an_answer_beyond_the_bound_is_a_failure_and_costs_no_host(
    hosted: str, make_executor: Callable[..., Executor]
) -> None:
    executor = make_executor(hosted, 1, HostSettings(max_value_bytes=1_000))
    before = pid(executor)
    outcome = submit(executor, guests.answer_too_much, 100_000).result(DEADLINE_SECONDS)

    assert outcome.end is End.FAILED
    assert "bytes; 66536 can be sent" in (outcome.error or "")
    assert pid(executor) == before


def test_a_frame_beyond_the_bound_ends_its_host(
    hosted: str, make_executor: Callable[..., Executor]
) -> None:
    executor = make_executor(hosted, 1, HostSettings(max_value_bytes=1_000))
    outcome = submit(executor, guests.announce_a_frame_of, 70_000).result(DEADLINE_SECONDS)

    assert outcome.end is End.LOST
    assert outcome.error == "The process that ran it gave an answer that cannot be read"
    assert replace(outcome, run_seconds=0.0).transient
