"""The work that a claim asks for, as executors take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from afterwards.execution.attempt import FUNCTIONS, Attempt
from afterwards.execution.questions import Questions, Submitted
from afterwards.logs import get_logger
from afterwards.registry.protocol.answers import Claim
from afterwards.task_types.base import Environment, TaskContext
from afterwards.task_types.context import Progress
from afterwards.task_types.description import Catalogue
from afterwards.task_types.family import Family
from afterwards.trace_context import ids
from afterwards_executors.base import ANYWHERE, Name, Placement, Work

log = get_logger(__name__)


class WorkMaker:
    """Makes work of the claims of one worker.

    Args:
        catalogue: the task types, for their time limits.
        environment: what attempts are given.
        timeout_seconds: the limit for attempts whose task and type say nothing.
        progress: hears how far an attempt is: task id, attempt, fraction, message. Must not wait.
        questions: answers what attempts ask about other tasks.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        environment: Environment,
        timeout_seconds: float,
        progress: Callable[[str, int, float, str | None], None],
        questions: Questions,
    ) -> None:
        self._catalogue = catalogue
        self._environment = environment
        self._timeout_seconds = timeout_seconds
        self._progress = progress
        self._questions = questions

    def of(self, claim: Claim, trace: str | None, submitted: Submitted) -> Work:
        """The work of one attempt.

        Args:
            trace: the span of the attempt, as `afterwards.trace_context` has it; None: it has none.
            submitted: takes note of the tasks that the attempt submits.
        """
        family = Family(claim.retries, claim.depth, claim.priority, claim.labels, claim.members)
        context = TaskContext(
            claim.task_id,
            claim.attempt,
            claim.attempts_used,
            self._environment,
            claim.type,
            trace,
            family=family,
            target=claim.target,
        )
        work = Work(
            FUNCTIONS[claim.executor],
            (Attempt(claim.type, claim.payload, context, claim.max_attempts),),
            self._limit(claim),
            partial(self._keep_progress, claim),
            partial(_log_line, claim, {} if trace is None else ids(trace)),
            claim.crowd or None,
            partial(self._questions.put, claim, trace or claim.trace, submitted),
        )
        return self._placed(claim, work) if claim.executor == "dask" else work

    def _placed(self, claim: Claim, work: Work) -> Work:
        """The same, for a cluster."""
        placement, task_type = ANYWHERE, self._catalogue.get(claim.type)
        if task_type is not None and (task_type.dask_resources or task_type.dask_workers):
            amounts = tuple(sorted(task_type.dask_resources.items()))
            placement = Placement(amounts, task_type.dask_workers)
        name = Name(claim.type, claim.task_id, claim.attempt)
        return replace(work, name=name, placement=placement)

    def _limit(self, claim: Claim) -> float:
        if claim.timeout_seconds is not None:
            return claim.timeout_seconds
        task_type = self._catalogue.get(claim.type)
        if task_type is not None and task_type.timeout_seconds is not None:
            return task_type.timeout_seconds
        return self._timeout_seconds

    def _keep_progress(self, claim: Claim, progress: bytes) -> None:
        try:
            fraction, message = Progress.decoded(progress)
        except ValueError as error:
            # Only a child that is broken says such things.
            log.warning(
                "attempt's progress cannot be read; dropped",
                task_id=claim.task_id,
                attempt=claim.attempt,
                error=str(error),
            )
            return
        self._progress(claim.task_id, claim.attempt, fraction, message)


def _log_line(claim: Claim, of_trace: Mapping[str, str], line: str) -> None:
    """A line that an attempt has printed is one of the log."""
    log.info(
        "task printed",
        line=line,
        task_id=claim.task_id,
        type=claim.type,
        attempt=claim.attempt,
        **of_trace,
    )
