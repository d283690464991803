"""A state machine that does to schedules what disks, crowds, clocks and crashes may do to them.

`HYPOTHESIS_EXAMPLES=5000 pytest tests/registry/test_schedules_machine.py` searches for longer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from afterwards.lifecycle import Task
from afterwards.registry.protocol.requests import (
    Cancel,
    DeclareSchedules,
    PauseSchedule,
    PutSchedule,
    Request,
    RunSchedule,
)
from afterwards.registry.state.acceptance import Limits
from afterwards.registry.state.due_times import MISSED_AFTER_SECONDS
from afterwards.task_ids import new_id
from tests.registry.bench import Bench, SteppedRegistry
from tests.registry.peers import ask, make_schedule

PERIOD = 7.0
CATCHES_UP, SKIPS = "catches up", "skips"
MAX_PENDING = 6


class ScheduleMachine(RuleBasedStateMachine):
    """One schedule that catches up and one that does not, and everything that can go wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(Path(tempfile.mkdtemp(prefix="afterwards-test-")) / "data")
        self.bench.directory.mkdir()
        self.journal = self.bench.journal()
        self.registry = self.open()
        for name in (CATCHES_UP, SKIPS):
            schedule = make_schedule(name, every_seconds=PERIOD, catch_up=name == CATCHES_UP)
            assert ask(self.registry, PutSchedule(schedule)) is True
        self.since = self.bench.clock.wall()
        self.made: dict[str, dict[int, str]] = {CATCHES_UP: {}, SKIPS: {}}
        """Task ids by the number of the due time."""
        self.excused: dict[str, set[int]] = {CATCHES_UP: set(), SKIPS: set()}
        """Numbers of due times that need not have a task."""
        self.late: set[str] = set()
        """Ids of tasks that were made late, of those that were seen."""
        self.seen: set[str] = set()
        self.last_wall = self.since
        self.forgotten = False
        """True if a crash has forgotten which due times wait for room."""

    def open(self) -> SteppedRegistry:
        return self.bench.registry(
            Limits(max_pending=MAX_PENDING), journal=self.journal, retention_seconds=1e9
        )

    def tick(self) -> None:
        """Let the registry work, and look at what it has made."""
        self.look_at_clock()
        self.registry.tick()
        for task in self.unfinished():
            self.note(task)

    def look_at_clock(self) -> None:
        """A group is about to be carried out: what does the time excuse?"""
        wall = self.bench.clock.wall()
        if self.forgotten or wall - self.last_wall > MISSED_AFTER_SECONDS - PERIOD:
            self.excuse(SKIPS, wall - MISSED_AFTER_SECONDS)
        self.forgotten = False
        self.last_wall = max(wall, self.last_wall)

    def unfinished(self) -> list[Task]:
        return list(self.registry.rules.store._unfinished.values())

    def note(self, task: Task) -> None:
        if task.idempotency_key is None:
            return  # run by hand
        number = round((task.run_at - self.since) / PERIOD)
        assert task.run_at == self.since + number * PERIOD, "not a due time"
        assert task.schedule is not None
        assert task.run_at <= task.created_at, "before it was due"
        known = self.made[task.schedule].setdefault(number, task.id)
        assert known == task.id, "two tasks for one due time"
        if task.id not in self.seen:
            self.seen.add(task.id)
            if task.run_at < self.bench.clock.wall() - MISSED_AFTER_SECONDS:
                self.late.add(task.id)

    def excuse(self, name: str, until: float) -> None:
        last = int((until - self.since) / PERIOD) + 1
        self.excused[name].update(range(1, last + 1))

    # -- rules --

    @rule(seconds=st.sampled_from([0.25, 3.0, 7.0, 20.0]), steps=st.integers(1, 4))
    def let_time_pass(self, seconds: float, steps: int) -> None:
        for _ in range(steps):
            self.bench.clock.turn(seconds)
            self.tick()

    @rule(failures=st.integers(1, 6))
    def break_disk(self, failures: int) -> None:
        self.journal.failures = failures

    @rule()
    def make_room(self) -> None:
        self.journal.failures = 0
        tasks = self.unfinished()
        for task in tasks:
            self.note(task)
        self.look_at_clock()
        self.registry.exchange(None, 0, [Cancel(task.id) for task in tasks])
        for task in self.unfinished():
            self.note(task)

    # Not so far that there were more missed times than are caught up with.
    @precondition(lambda self: self.bench.clock.wall() < self.last_wall + 1_000.0)
    @rule(seconds=st.sampled_from([-300.0, -10.0, 10.0, 300.0]))
    def set_wall_clock(self, seconds: float) -> None:
        self.bench.clock.set_wall(seconds)

    @rule(down=st.sampled_from([0.0, 30.0, 200.0]))
    def crash(self, down: float) -> None:
        self.journal = self.bench.crash()
        self.registry = self.open()
        self.bench.clock.turn(down)
        # What waited for room is late by the time that is looked at next.
        self.forgotten = True

    @rule(name=st.sampled_from([CATCHES_UP, SKIPS]))
    def rest(self, name: str) -> None:
        self.look_at_clock()
        paused = self.ask(PauseSchedule(name, True))
        resumed = self.ask(PauseSchedule(name, False))
        if not isinstance(paused, Exception) or not isinstance(resumed, Exception):
            self.excuse(name, max(self.last_wall, self.bench.clock.wall()))

    @rule(name=st.sampled_from([CATCHES_UP, SKIPS]))
    def run_by_hand(self, name: str) -> None:
        self.look_at_clock()
        self.ask(RunSchedule(name, new_id()))

    @rule()
    def deploy(self) -> None:
        """Their definitions stay, so their times do."""
        self.look_at_clock()
        self.declare(CATCHES_UP, SKIPS)

    @rule(name=st.sampled_from([CATCHES_UP, SKIPS]))
    def deploy_without(self, name: str) -> None:
        """A task module loses a schedule, and has it again with the next deployment."""
        self.look_at_clock()
        kept = {CATCHES_UP, SKIPS} - {name}
        if self.declare(*kept) | self.declare(CATCHES_UP, SKIPS):
            self.excuse(name, max(self.last_wall, self.bench.clock.wall()))

    def declare(self, *names: str) -> bool:
        """Have these declared; True if they are."""
        declared = [
            make_schedule(
                name, every_seconds=PERIOD, catch_up=name == CATCHES_UP, module="shop.tasks"
            )
            for name in names
        ]
        return self.ask(DeclareSchedules(1, declared)) is None

    def ask(self, request: Request) -> Any:
        """The answer, once it is noted what its group has made: that is late, or not, as of now."""
        answer = ask(self.registry, request)
        for task in self.unfinished():
            self.note(task)
        return answer

    # -- invariants --

    @invariant()
    def due_times_have_their_tasks_in_order(self) -> None:
        for name, made in self.made.items():
            numbers = sorted(made)
            for earlier, later in pairwise([0, *numbers]):
                missing = set(range(earlier + 1, later))
                assert missing <= self.excused[name], f"{name}: {missing} were left out"

    @invariant()
    def what_is_made_late_leaves_half_of_the_room(self) -> None:
        late = sum(task.id in self.late for task in self.unfinished())
        assert late <= MAX_PENDING // 2, "clients find no room"

    def teardown(self) -> None:
        try:
            self.journal.failures = 0
            self.bench.clock.set_wall(max(0.0, self.last_wall - self.bench.clock.wall()) + 100.0)
            for _ in range(200):
                self.bench.clock.turn(0.25)
                self.tick()
                self.make_room()
            self.due_times_have_their_tasks_in_order()
            for name, made in self.made.items():
                assert max(made) == int((self.bench.clock.wall() - self.since) / PERIOD), name
        finally:
            self.bench.close()
            shutil.rmtree(self.bench.directory.parent, ignore_errors=True)


EXAMPLES = os.environ.get("HYPOTHESIS_EXAMPLES")


@pytest.mark.usefixtures("quiet")
@pytest.mark.timeout(0 if EXAMPLES else 60)
def test_whatever_happens_each_due_time_has_its_task() -> None:
    run_state_machine_as_test(
        ScheduleMachine,
        settings=settings(
            max_examples=int(EXAMPLES) if EXAMPLES else 20,
            stateful_step_count=30,
            derandomize=EXAMPLES is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
        ),
    )
