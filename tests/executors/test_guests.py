"""Whatever a call does to its process costs that call at most, and those in it at the worst."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from afterwards_executors import EXECUTORS
from afterwards_executors.base import LOG_BYTES, LOG_LINES, End, Executor, Outcome, Slots, Work
from afterwards_executors.hosts.executor import HostExecutor
from afterwards_executors.hosts.settings import HostSettings
from tests.executors import guests, work
from tests.executors.conftest import DEADLINE_SECONDS, children, is_running, wait_until

pytestmark = pytest.mark.processes

SETTINGS: Final = HostSettings(
    max_value_bytes=1_000_000, overdue_seconds=0.3, blocked_seconds=0.5, silent_seconds=1.0
)


@pytest.fixture(scope="module")
def executors() -> Iterator[Mapping[str, Executor]]:
    """One of each kind, for all tests of this module; they leave no process."""
    before = children()
    made = {kind: HostExecutor(kind, 3, SETTINGS) for kind in EXECUTORS}
    for executor in made.values():
        executor.start()
    yield made
    for executor in made.values():
        executor.shutdown(5.0)
    assert children() <= before


def submit(executor: Executor, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    if executor.kind == "async" and not is_async(function):
        return executor.submit(Work(guests.plainly, (function, *args), **options))
    return executor.submit(Work(function, args, **options))


def is_async(function: Callable[..., Any]) -> bool:
    return bool(function.__code__.co_flags & 0x80)


def run(executor: Executor, function: Callable[..., Any], *args: Any, **options: Any) -> Outcome:
    outcome = submit(executor, function, *args, **options).result(DEADLINE_SECONDS)
    assert isinstance(outcome, Outcome)
    return outcome


def run_again(executor: Executor, function: Callable[..., Any]) -> Outcome:
    """As the service does it: what shared a host with somebody who is to blame runs again."""
    outcome = run(executor, function)
    while outcome.end in {End.RELEASED, End.SUSPECTED}:
        outcome = run(executor, function)
    return outcome


def is_idle(executor: Executor) -> bool:
    return executor.slots() == Slots(total=3, busy=0, stuck=0)


def everything_goes_on(executors: Mapping[str, Executor]) -> None:
    for kind, executor in executors.items():
        outcome = run(executor, work.succeed, b"after")
        assert (kind, outcome.end, outcome.value) == (kind, End.SUCCEEDED, b"after"), outcome
        wait_until(partial(is_idle, executor))


PATH: Final = object()
"""Stands for a path of the test's own."""

HARMLESS: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
    # kinds, function and arguments
    *[
        (kinds, (*how, what))
        for kinds, how in (
            ("async thread process", ()),
            ("async", (guests.in_a_subtask,)),
            ("async", (guests.in_a_forgotten_task,)),
            ("async", (guests.in_a_callback,)),
            ("async thread process", (guests.in_a_thread,)),
        )
        for what in (guests.leave, guests.interrupt)
    ],
    ("async thread process", (guests.leave_without_words,)),
    ("async thread process", (guests.give_up_generating,)),
    ("async thread process", (guests.interrupt_the_main_thread,)),
    ("async", (guests.awaited, guests.stop_the_loop)),
    ("async", (guests.in_a_subtask, guests.leave)),
    ("async", (guests.awaited, guests.close_the_loop)),
    ("async", (guests.awaited, guests.cancel_everything)),
    ("async", (guests.awaited, guests.replace_the_factories)),
    ("async", (guests.awaited, guests.forget_the_wire)),
    ("thread process", (guests.run_a_loop_of_its_own,)),
    ("async thread process", (guests.ignore_signals,)),
    ("async thread process", (guests.default_signals,)),
    ("thread process", (guests.arm_a_timer,)),
    ("async thread process", (guests.fork_and_come_back,)),
    ("async", (guests.fork_and_go_on, PATH)),
    ("async thread process", (guests.fork_and_leave_it,)),
    ("async thread process", (guests.use_a_pool,)),
    ("async thread process", (guests.terminate_a_process,)),
    ("async thread process", (guests.use_a_kept_pool,)),
    ("async thread process", (guests.use_a_kept_pool,)),
    ("async thread process", (guests.set_the_start_method,)),
    ("async thread process", (guests.leave_a_program, PATH)),
    ("async thread process", (guests.set_a_default_timeout,)),
    ("async thread process", (guests.go_elsewhere,)),
    ("async thread process", (guests.go_where_nothing_is, PATH)),
    ("async thread process", (guests.mask_everything,)),
    ("async thread process", (guests.empty_the_environment,)),
    ("async thread process", (guests.close_the_streams,)),
    ("async thread process", (guests.lose_the_streams,)),
    ("async thread process", (guests.close_the_descriptors,)),
    ("async thread process", (guests.print_megabytes,)),
    ("async thread process", (guests.write_megabytes,)),
    ("async thread process", (guests.write_megabytes_elsewhere,)),
    ("async thread process", (guests.answer_too_much, 2_000_000)),
    ("async thread process", (guests.answer_too_much, 100_000_000)),
    ("async thread process", (guests.fail_with_too_many_words, 5_000_000)),
    ("async thread process", (guests.leak_threads,)),
    ("async thread process", (guests.leak_descriptors,)),
    ("async thread process", (guests.break_a_thread,)),
)
"""Calls that cost at most themselves."""

DEADLY: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
    *[
        (kinds, (*how, what))
        for kinds, how in (
            ("async thread process", ()),
            ("async", (guests.in_a_subtask,)),
            ("async thread process", (guests.in_a_thread,)),
        )
        for what in (guests.exit_now, guests.abort, guests.kill_the_group)
    ],
    ("async thread process", (guests.run_over_the_stack,)),
)
"""Calls that end the host."""

HANGING: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
    ("async thread process", (guests.sleep_long,)),
    ("async thread process", (guests.spin,)),
    ("async thread process", (guests.keep_the_interpreter,)),
    ("async thread process", (guests.compute_long,)),
    ("async", (guests.in_a_subtask, guests.sleep_long)),
    ("async", (guests.in_a_callback, guests.sleep_long)),
)
"""Calls that never end by themselves."""


def each(table: tuple[tuple[str, tuple[Any, ...]], ...]) -> pytest.MarkDecorator:
    """Has a test run for each row and each of its kinds."""
    return pytest.mark.parametrize(
        ("kind", "call"),
        [
            pytest.param(kind, call, id=f"{kind}-{number}-{name_of(call)}")
            for number, (kinds, call) in enumerate(table)
            for kind in kinds.split()
        ],
    )


def name_of(call: tuple[Any, ...]) -> str:
    return "-".join(part.__name__ for part in call if callable(part))


@each(HARMLESS)
def test_what_a_call_does_to_its_process_costs_nobody_else(
    executors: Mapping[str, Executor], kind: str, call: tuple[Any, ...], gate: Path
) -> None:
    neighbour_function = work.wait_for_async if kind == "async" else work.wait_for
    neighbour = submit(executors[kind], neighbour_function, str(gate))
    wait_until(lambda: is_running(gate))
    path = str(gate.with_name("own"))
    parts: list[Any] = [path if part is PATH else part for part in call]
    run(executors[kind], *parts)
    for _ in range(2):
        assert run(executors[kind], work.succeed).end is End.SUCCEEDED
    gate.touch()

    assert neighbour.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    everything_goes_on(executors)


@each(DEADLY)
def test_a_call_that_ends_its_host_costs_those_in_it_and_no_further_one(
    executors: Mapping[str, Executor], kind: str, call: tuple[Any, ...], gate: Path
) -> None:
    neighbour_function = work.wait_for_async if kind == "async" else work.wait_for
    neighbour = submit(executors[kind], neighbour_function, str(gate))
    wait_until(lambda: is_running(gate))
    outcome = run(executors[kind], *call)
    gate.touch()
    others = neighbour.result(DEADLINE_SECONDS)

    if kind == "process":
        assert (outcome.end, others.end) == (End.LOST, End.SUCCEEDED)
    else:
        assert (outcome.end, outcome.crowd) == (End.SUSPECTED, 2)
        assert (others.end, others.crowd) == (End.SUSPECTED, 2)
    everything_goes_on(executors)


@each(HANGING)
def test_a_call_that_hangs_ends_at_its_limit_and_blames_no_neighbour(
    executors: Mapping[str, Executor], kind: str, call: tuple[Any, ...], gate: Path
) -> None:
    neighbour_function = work.wait_for_async if kind == "async" else work.wait_for
    neighbour = submit(executors[kind], neighbour_function, str(gate))
    wait_until(lambda: is_running(gate))
    hanging = submit(executors[kind], *call, timeout_seconds=0.7)
    wait_until(lambda: hanging.started_at is not None)
    for other in EXECUTORS:
        assert run_again(executors[other], work.succeed).end is End.SUCCEEDED
    outcome = hanging.result(DEADLINE_SECONDS)
    gate.touch()
    others = neighbour.result(DEADLINE_SECONDS)

    assert outcome.end in {End.TIMED_OUT, End.SUSPECTED}, outcome
    assert others.end in {End.SUCCEEDED, End.RELEASED, End.SUSPECTED}, others
    everything_goes_on(executors)


# -- one by one ------------------------------------------------------------------------------------


def test_an_alarm_that_raises_in_the_loop_s_thread_stops_with_the_calls_that_it_hits(
    executors: Mapping[str, Executor],
) -> None:
    for _ in range(3):
        run(executors["async"], guests.arm_a_timer)
        wait_until(lambda: executors["async"].slots().busy == 0)
    run(executors["async"], work.succeed)

    everything_goes_on(executors)


@pytest.mark.parametrize("name", ["succeed", "spawn"])
def test_what_a_module_does_when_it_is_imported_costs_nobody_else(
    executors: Mapping[str, Executor], hosted: str, gate: Path, name: str
) -> None:
    neighbour_function = work.wait_for_async if hosted == "async" else work.wait_for
    neighbour = submit(executors[hosted], neighbour_function, str(gate))
    wait_until(lambda: is_running(gate))
    function = guests.by_name_async if hosted == "async" else guests.by_name
    outcome = run(executors[hosted], function, "tests.executors.guests_at_import", name)
    gate.touch()

    assert outcome.end is End.SUCCEEDED, outcome
    assert neighbour.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    everything_goes_on(executors)


@pytest.mark.parametrize(
    "what",
    [
        guests.set_a_default_timeout,
        guests.go_elsewhere,
        guests.mask_everything,
        guests.close_the_descriptors,
    ],
)
def test_the_next_call_finds_the_process_as_it_was(
    hosted: str, make_executor: Callable[..., Executor], what: Callable[[], Outcome]
) -> None:
    executor = make_executor(hosted, 1)
    before = run(executor, guests.report_the_surroundings).value
    run(executor, what)

    assert run(executor, guests.report_the_surroundings).value == before
    assert run(executor, guests.report_the_surroundings).value == before


def test_a_fork_that_gives_way_to_the_loop_runs_nothing_more(
    make_executor: Callable[..., Executor], gate: Path
) -> None:
    executor = make_executor("async", 3)
    submit(executor, work.count_all_the_while_async, str(gate))
    wait_until(lambda: is_running(gate))
    path = gate.with_name("own")
    assert run(executor, guests.fork_and_go_on, str(path)).end is End.SUCCEEDED

    assert path.with_name("own.parent").exists()
    assert not path.with_name("own.fork").exists()
    pids = set(gate.with_name("gate.count").read_text(encoding="ascii").split())
    assert len(pids) == 1


def test_what_a_call_prints_arrives_with_it_and_within_bounds(
    executors: Mapping[str, Executor], hosted: str
) -> None:
    lines: list[str] = []
    outcome = run(executors[hosted], guests.print_some, on_line=lines.append)

    assert lines == ["one", "two", "three"]
    assert outcome.log_lines == ("one", "two", "three")


def test_the_last_lines_of_a_call_are_kept_within_bounds(
    executors: Mapping[str, Executor], hosted: str
) -> None:
    outcome = run(executors[hosted], guests.print_megabytes)

    assert outcome.log_lines
    assert len(outcome.log_lines) <= LOG_LINES
    assert sum(len(line) for line in outcome.log_lines) <= LOG_BYTES


def test_a_host_in_which_something_runs_out_is_replaced(
    hosted: str, make_executor: Callable[..., Executor]
) -> None:
    executor = make_executor(hosted, 2)
    pid = run(executor, work.report_pid).value
    assert run(executor, guests.starve).end is End.STARVED

    assert run(executor, work.report_pid).value != pid


def test_what_is_to_be_done_at_the_end_of_a_host_is_done_once(
    hosted: str, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_executor(hosted, 1)
    path = tmp_path / "ended"
    function = guests.note_the_end_async if hosted == "async" else guests.note_the_end
    assert run(executor, function, str(path)).end is End.SUCCEEDED
    assert not path.exists()
    executor.shutdown(5.0)

    assert path.exists()
