"""The ends of attempts, as their holders report them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from afterwards.errors import ChildrenRefused, IllegalTransition, StaleReport
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.clock import Clock
from afterwards.registry.protocol.requests import (
    Failed,
    Lost,
    Released,
    Stopped,
    Succeeded,
    Suspected,
)
from afterwards.registry.state.children import Children
from afterwards.registry.state.deliveries import Deliveries
from afterwards.registry.state.store import TaskStore
from afterwards.webhooks.delivery import seconds_after_losses
from afterwards.webhooks.webhook import DELIVERY


class Outcomes:
    """The verbs of reports."""

    def __init__(
        self, clock: Clock, store: TaskStore, children: Children, deliveries: Deliveries
    ) -> None:
        self._clock = clock
        self._store = store
        self._children = children
        self._deliveries = deliveries
        self.verbs: dict[type, Callable[[Any], Any]] = {
            Succeeded: self._succeeded,
            Failed: self._failed,
            Released: self._released,
            Lost: self._lost,
            Suspected: self._suspected,
            Stopped: self._stopped,
        }

    def _succeeded(self, report: Succeeded) -> None:
        task = self._running(report.task_id, report.attempt)
        now = self._clock.wall()
        done = task.succeed(report.attempt, report.result, now, report.artifacts)
        outcome = "success"
        try:
            self._children.accept(task, report.children)
        except IllegalTransition:
            done, outcome = task.stop(report.attempt, now), "cancelled"
        except ChildrenRefused as error:
            done, outcome = task.fail(report.attempt, str(error), now), "failure"
        self._put(task, done, outcome, report, report.run_seconds)
        if done.type == DELIVERY and done.state is TaskState.SUCCESS:
            self._deliveries.succeeded(done)

    def _failed(self, report: Failed) -> None:
        task = self._running(report.task_id, report.attempt)
        now = self._clock.wall()
        if report.retry_in_seconds is None:
            ended = task.fail(report.attempt, report.error, now)
        else:
            ended = task.back_off(report.attempt, report.error, report.retry_in_seconds, now)
        self._store.put(
            task,
            ended,
            "timeout" if report.timed_out else "failure",
            report.run_seconds,
            usage=report.usage,
            log_lines=report.log_lines,
            traceback=report.traceback,
        )
        if ended.type == DELIVERY:
            self._deliveries.failed(ended, report.error, gone=report.gone)

    def _put(
        self,
        task: Task,
        ended: Task,
        outcome: str,
        report: Succeeded | Lost | Suspected,
        run_seconds: float | None = None,
    ) -> None:
        self._store.put(
            task, ended, outcome, run_seconds, usage=report.usage, log_lines=report.log_lines
        )

    def _released(self, report: Released) -> None:
        task = self._running(report.task_id, report.attempt)
        released = task.release(report.attempt, report.reason, self._clock.wall())
        self._store.put(task, released, "released")

    def _lost(self, report: Lost) -> None:
        task = self._running(report.task_id, report.attempt)
        lost = task.lose(
            report.attempt,
            report.error,
            self._clock.wall(),
            alone=True,
            retry_in_seconds=seconds_after_losses(task),
        )
        self._put(task, lost, "lost", report)

    def _suspected(self, report: Suspected) -> None:
        task = self._running(report.task_id, report.attempt)
        suspect = task.suspect(
            report.attempt,
            report.error,
            report.crowd,
            self._clock.wall(),
            retry_in_seconds=seconds_after_losses(task),
        )
        outcome = "lost" if task.crowd == 1 else "suspected"
        self._put(task, suspect, outcome, report)

    def _stopped(self, report: Stopped) -> None:
        task = self._running(report.task_id, report.attempt)
        self._store.put(task, task.stop(report.attempt, self._clock.wall()), "cancelled")

    def _running(self, task_id: str, attempt: int) -> Task:
        task = self._store.get(task_id)
        if task is None:
            raise StaleReport(task_id, attempt, 0, "finished or unknown")
        return task
