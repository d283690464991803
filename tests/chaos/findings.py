"""The findings of a run: from the clients' log, the tasks' trace and the killer's notes."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from afterwards.lifecycle import MAX_LOST_ATTEMPTS, Task, TaskState
from tests.chaos.clients import Acknowledged
from tests.chaos.killer import KINDS, Kill
from tests.chaos.submissions import ENDS_BADLY, MAY_BE_REPLACED
from tests.reliability.conftest import Mark

LATE_SECONDS = 15.0
"""The time after a strike in which its victim may still begin or end attempts: draining, or
frozen."""

AWAKE_SECONDS = 1.0
"""The time in which a frozen process notices that it was frozen."""

HOW = {"end": "it finished, its report did not arrive", "cut": "it was stopped", "": "it vanished"}


@dataclass(frozen=True)
class Again:
    """An attempt that was followed by another although its task had not failed."""

    task_id: str
    attempt: int
    how: str
    """The end of the attempt."""
    kill: Kill | None
    """The strike that ended it; None: a failure of the service."""
    after_seconds: float
    """From the strike to the beginning of the next attempt."""
    meanwhile: int
    """Strikes between that and the next attempt: the service may have been down all the time."""
    overlapped: bool
    """True if it ended after the next one had begun."""


def ends_of(kind: str) -> frozenset[TaskState]:
    """The states in which a task of this kind may end, if it is not lost too often."""
    if kind in MAY_BE_REPLACED:
        return frozenset({TaskState.SUCCESS, TaskState.CANCELLED})
    return frozenset({TaskState.FAILED if kind in ENDS_BADLY else TaskState.SUCCESS})


@dataclass
class Findings:
    """All of it. `failures` is empty if the promise was kept."""

    acknowledged: Sequence[Acknowledged]
    tasks: Mapping[str, Task | None]
    kills: Sequence[Kill]
    again: list[Again]
    answers: Counter[str]
    failures: list[str] = field(default_factory=list)
    effects: Sequence[str] = ()
    """Lines for people: what was sent, and how often again."""

    @property
    def lost(self) -> list[str]:
        """Acknowledged tasks that are unknown, or have not reached a final state."""
        ids = [each.task_id for each in self.acknowledged]
        tasks = {task_id: self.tasks.get(task_id) for task_id in ids}
        return [i for i, task in tasks.items() if task is None or not task.state.is_final]

    @property
    def lost_too_often(self) -> list[str]:
        """Failed because three attempts were lost."""
        return [
            task_id
            for task_id, task in self.tasks.items()
            if task is not None
            and task.state is TaskState.FAILED
            and task.lost_attempts >= MAX_LOST_ATTEMPTS
        ]

    def judge(self, output_dir: Path) -> None:
        """Fill in `failures` from what is here."""
        if self.lost:
            self.failures.append(f"lost: {len(self.lost)}, {self.lost[:5]}")
        self._check_repetitions()
        for kind in KINDS:
            if not any(kill.in_flight for kill in self.kills if kill.kind == kind):
                self.failures.append(f"no attempt was under way at any {kind}")
        given_up = set(self.lost_too_often)
        for task_id, kind, content in self.acknowledged:
            task = self.tasks.get(task_id)
            if task is None or task_id in given_up or not task.state.is_final:
                continue
            if task.state not in ends_of(kind):
                self.failures.append(f"{kind} {task_id} is {task.state}: {task.error}")
            elif kind == "file":
                self._check_file(output_dir / f"{task_id}.json", content)

    def _check_repetitions(self) -> None:
        for each in self.again:
            if each.kill is None:
                self.failures.append(f"ran again without a reason: {each}")
            elif each.overlapped and not each.kill.until:
                self.failures.append(f"ran twice at a time: {each}")

    def _check_file(self, path: Path, content: Mapping[str, object]) -> None:
        if not path.exists() or json.loads(path.read_text()) != content:
            self.failures.append(f"{path} is not what was asked for")
        elif list(path.parent.glob(f".{path.stem}.*")):
            self.failures.append(f"something is left beside {path}")

    def report(self) -> str:
        """For people."""
        lines = [
            f"acknowledged          {len(self.acknowledged)}",
            f"lost                  {len(self.lost)}",
            f"answers               {dict(sorted(self.answers.items()))}",
            f"given up after {MAX_LOST_ATTEMPTS} losses {len(self.lost_too_often)}",
            f"executed again        {len(self.again)}",
            f"  beside the first one {sum(each.overlapped for each in self.again)}",
            *_reasons(self.again),
            f"kills                 {len(self.kills)}",
            *_kinds(self.kills),
        ]
        lines += [*_recovery(self.again), *self.effects]
        return "\n".join([*lines, *(f"FAILURE: {failure}" for failure in self.failures)])


def _recovery(again: Sequence[Again]) -> list[str]:
    """The time from a strike that no other followed to a task's next attempt."""
    seconds: dict[str, list[float]] = {}
    for each in again:
        if each.kill is not None and not each.meanwhile:
            seconds.setdefault(each.kill.kind, []).append(each.after_seconds)
    lines = [
        f"  {len(each):5}  {kind}: median {statistics.median(each):.2f}, longest {max(each):.2f}"
        for kind, each in sorted(seconds.items())
    ]
    head = "seconds from a kill to a task's next attempt, if no other kill followed"
    return [head, *lines] if lines else []


def _reasons(again: Sequence[Again]) -> list[str]:
    counted = Counter((each.kill.kind if each.kill else "no kill", each.how) for each in again)
    return [f"  {number:5}  {kind}: {HOW[how]}" for (kind, how), number in sorted(counted.items())]


def _kinds(kills: Sequence[Kill]) -> list[str]:
    lines = []
    for kind in sorted({kill.kind for kill in kills}):
        in_flight = [kill.in_flight for kill in kills if kill.kind == kind]
        under_way = ", ".join(map(str, in_flight[:12])) + (", …" if len(in_flight) > 12 else "")
        lines.append(f"  {len(in_flight):5}  {kind}: under way {under_way}")
    return lines


def executed_again(trace: Sequence[Mark], kills: Sequence[Kill]) -> list[Again]:
    """Every attempt that was followed by another, except after an error of the task's own."""
    begun: dict[str, dict[int, Mark]] = {}
    ended: dict[tuple[str, int], Mark] = {}
    for mark in trace:
        if mark.word == "begin":
            begun.setdefault(mark.task_id, {})[mark.attempt] = mark
        else:
            ended[mark.task_id, mark.attempt] = mark
    found = []
    for task_id, attempts in begun.items():
        numbers = sorted(attempts)
        for number, following in pairwise(numbers):
            end = ended.get((task_id, number))
            if end is not None and end.word == "error":
                continue
            first = attempts[number]
            kill = _reason(first, attempts[following], kills)
            found.append(
                Again(
                    task_id,
                    number,
                    end.word if end is not None else "",
                    kill,
                    attempts[following].at - kill.at if kill is not None else 0.0,
                    sum(
                        kill is not None and kill.at < k.at < attempts[following].at for k in kills
                    ),
                    end is not None and end.word == "end" and end.at > attempts[following].at,
                )
            )
    return found


def _reason(first: Mark, following: Mark, kills: Sequence[Kill]) -> Kill | None:
    """The last strike at the first attempt's process before the next attempt began; if that left
    it alive, rather the freeze that was under way."""
    # Its parent, too: a host may have been started while its worker was already stopping.
    strikes = [
        kill
        for kill in kills
        if first.at - LATE_SECONDS < kill.at < following.at
        and kill.pids & {first.pid, first.parent}
    ]
    if not strikes or strikes[-1].kind.endswith("SIGKILL"):
        return strikes[-1] if strikes else None
    frozen = [kill for kill in strikes if kill.until + AWAKE_SECONDS > following.at]
    return (frozen or strikes)[-1]
