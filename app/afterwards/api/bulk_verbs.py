"""Verbs for many tasks at once: those that match, or those with these ids."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.asker import asker
from afterwards.api.lapses import while_allowed
from afterwards.api.queries import require_known
from afterwards.api.redaction import redaction_of
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.bulk import (
    BulkCancel,
    BulkDelete,
    BulkRetry,
    BulkRun,
    BulkSelection,
    CancelSelection,
    DeleteSelection,
    RetrySelection,
    RunSelection,
)
from afterwards.api.submission import service_of
from afterwards.api.task_changes import prepared
from afterwards.api.task_filter import RETRYING, filter_of
from afterwards.lifecycle import FINAL_STATES, TaskState
from afterwards.service import bulk

router = new_router("Tasks of any type")

_IN_BODY: Final = "belongs in the body; this path takes no query"
_PROBLEMS: Final = schemas.answers(415, 422, 503)

_RETRYABLE: Final = (TaskState.FAILED, TaskState.CANCELLED)
_UNFINISHED: Final = tuple(state for state in TaskState if state not in FINAL_STATES)


@router.post(
    "/tasks/retry",
    summary="Retry many tasks",
    operation_id="retryTasks",
    response_model=BulkRetry,
    response_description="The outcome of the call",
    responses=_PROBLEMS,
)
@needs(Role.OPERATOR)
async def retry_tasks(selection: RetrySelection, request: Request) -> Response:
    """Retry all failed (or cancelled) tasks that match, the newest first.

    The body may give them all the same new payload, or move them to another type.
    """
    chosen = _chosen(selection, request, _RETRYABLE)
    service = service_of(request)
    if selection.dry_run:
        return _counted(await service.bulk.count(chosen), chosen, retried=0)
    prepare = await prepared(request, selection.payload, selection.new_type)
    tally = await while_allowed(request, service.bulk.retry(chosen, prepare, asker(request)))
    return _done(tally, retried=tally.changed)


@router.post(
    "/tasks/cancel",
    summary="Cancel many tasks",
    operation_id="cancelTasks",
    response_model=BulkCancel,
    response_description="The outcome of the call",
    responses=_PROBLEMS,
)
@needs(Role.OPERATOR)
async def cancel_tasks(selection: CancelSelection, request: Request) -> Response:
    """Cancel all unfinished tasks that match, the newest first.

    The service asks running tasks to stop and does not wait for their end. A task that waits for
    another attempt is `scheduled`.
    """
    chosen = _chosen(selection, request, _UNFINISHED)
    service = service_of(request)
    if selection.dry_run:
        return _counted(await service.bulk.count(chosen), chosen, cancelled=0, requested=0)
    tally = await while_allowed(request, service.bulk.cancel(chosen, asker(request)))
    return _done(tally, cancelled=tally.changed, requested=tally.requested)


@router.post(
    "/tasks/run",
    summary="Run many tasks now",
    operation_id="runTasks",
    response_model=BulkRun,
    response_description="The outcome of the call",
    responses=_PROBLEMS,
)
@needs(Role.OPERATOR)
async def run_tasks(selection: RunSelection, request: Request) -> Response:
    """Make all scheduled tasks due that match, the newest first.

    A task that waits for another attempt is `scheduled`.
    """
    chosen = _chosen(selection, request, (TaskState.SCHEDULED,))
    service = service_of(request)
    if selection.dry_run:
        return _counted(await service.bulk.count(chosen), chosen, run=0)
    tally = await while_allowed(request, service.bulk.run(chosen, asker(request)))
    return _done(tally, run=tally.changed)


@router.post(
    "/tasks/delete",
    summary="Delete many tasks",
    operation_id="deleteTasks",
    response_model=BulkDelete,
    response_description="The outcome of the call",
    responses=_PROBLEMS,
)
@needs(Role.OPERATOR)
async def delete_tasks(selection: DeleteSelection, request: Request) -> Response:
    """Delete all finished tasks that match, the newest first. They cannot be brought back."""
    chosen = _chosen(selection, request, FINAL_STATES)
    service = service_of(request)
    if selection.dry_run:
        return _counted(await service.bulk.count(chosen), chosen, deleted=0)
    tally = await while_allowed(request, service.bulk.delete(chosen, asker(request)))
    return _done(tally, deleted=tally.changed)


def _chosen(
    selection: BulkSelection, request: Request, possible: Iterable[TaskState]
) -> bulk.Selection:
    """The selection that a body stands for.

    Args:
        possible: the states that the verb can be for, in which tasks named by their ids may be.
    """
    require_known(request, (), _IN_BODY)
    chosen = bulk.Selection(
        [TaskState(one) for one in dict.fromkeys(selection.status) if one != RETRYING],
        selection.limit,
        filter_of(selection, redaction_of(request)),
        what=selection.as_text(),
        detail=selection.changes_as_text(),
    )
    if selection.ids is None:
        return chosen
    return chosen._replace(states=list(possible), ids=selection.ids)


def _counted(matched: int, chosen: bulk.Selection, **done: int) -> Response:
    more = matched > chosen.limit
    return _answer(dry_run=True, matched=matched, **done, skipped=0, more=more, interrupted=None)


def _done(tally: bulk.Tally, **done: int) -> Response:
    return _answer(
        dry_run=False,
        matched=tally.matched,
        **done,
        skipped=tally.skipped,
        more=tally.more,
        interrupted=None if tally.interrupted is None else str(tally.interrupted),
    )


def _answer(**members: Any) -> Response:
    return Response(json.dumps(members), media_type="application/json")
