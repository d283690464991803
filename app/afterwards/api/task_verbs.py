"""What can be done to tasks: cancelling, retrying, one or many at a time."""

from __future__ import annotations

import json
from typing import Any, Final

from fastapi import BackgroundTasks, Request
from starlette.responses import Response

from afterwards.api import schemas, times
from afterwards.api.queries import require_known
from afterwards.api.references import reference
from afterwards.api.routing import new_router
from afterwards.api.schemas.requests import CancelSelection, NewPayload, RetrySelection
from afterwards.api.schemas.tasks import BulkCancel, BulkRetry, Cancellation, TaskDocument
from afterwards.api.submission import service_of
from afterwards.api.task_changes import prepared, replaced
from afterwards.api.task_document import base_document
from afterwards.lifecycle import TaskState
from afterwards.service import bulk
from afterwards.service.bulk import AS_IT_WAS

router = new_router("Tasks of any type")

_JSON: Final = "application/json"
_IN_BODY: Final = "belongs in the body; this path takes no query"


@router.post(
    "/tasks/{task_id}/cancel",
    summary="Cancel a task",
    operation_id="cancelTask",
    response_model=Cancellation,
    response_description="The outcome of the cancellation",
    responses=schemas.answers(*schemas.KNOWN_PROBLEMS),
)
async def cancel_task(task_id: schemas.TaskId, request: Request) -> Response:
    """Cancel a task that waits, or stop one that runs. The call waits up to 5 s for the stop."""
    fate, task = await service_of(request).cancel(task_id)
    return Response(
        b'{"outcome":"%b","task":%b}' % (fate.encode(), base_document(task)), media_type=_JSON
    )


@router.post(
    "/tasks/{task_id}/retry",
    summary="Retry a task",
    operation_id="retryAnyTask",
    status_code=202,
    response_model=TaskDocument,
    response_description="The task waits for its next attempt",
    responses=schemas.answers(
        409, 415, 422, *schemas.KNOWN_PROBLEMS, headers_of={202: schemas.TASK_LOCATION}
    ),
)
async def retry_task(
    task_id: schemas.TaskId,
    background: BackgroundTasks,
    request: Request,
    new: NewPayload | None = None,
) -> Response:
    """Give a failed or cancelled task a fresh round of attempts.

    The body may give the task another payload, or move it to another type.

    Of two retries at once, one succeeds.
    """
    service = service_of(request)
    changes = AS_IT_WAS
    if new is not None and (new.payload is not None or new.new_type is not None):
        task = await service.get(task_id)
        changes = await replaced(request, task, new.payload, new.new_type)
    task = await service.retry(task_id, changes)
    background.add_task(service.start, task.id)
    location = reference(request.scope, f"/tasks/{task.id}")
    return Response(base_document(task), 202, {"Location": location}, _JSON)


@router.post(
    "/tasks/retry",
    summary="Retry many tasks",
    operation_id="retryTasks",
    response_model=BulkRetry,
    response_description="What the call did",
    responses=schemas.answers(415, 422, 503),
)
async def retry_tasks(selection: RetrySelection, request: Request) -> Response:
    """Retry all failed (or cancelled) tasks that match, the newest first.

    The body may give them all the same new payload, or move them to another type.
    """
    require_known(request, (), _IN_BODY)
    service = service_of(request)
    chosen = _chosen(selection)
    if selection.dry_run:
        return _counted(await service.count(chosen), chosen, retried=0)
    prepare = await prepared(request, selection.payload, selection.new_type)
    tally = await service.retry_all(chosen, prepare)
    return _done(tally, retried=tally.changed)


@router.post(
    "/tasks/cancel",
    summary="Cancel many tasks",
    operation_id="cancelTasks",
    response_model=BulkCancel,
    response_description="What the call did",
    responses=schemas.answers(415, 422, 503),
)
async def cancel_tasks(selection: CancelSelection, request: Request) -> Response:
    """Cancel all unfinished tasks that match, the newest first.

    The service asks running tasks to stop and does not wait for their end. A task that waits for
    another attempt is `scheduled`.
    """
    require_known(request, (), _IN_BODY)
    service = service_of(request)
    chosen = _chosen(selection)
    if selection.dry_run:
        return _counted(await service.count(chosen), chosen, cancelled=0, requested=0)
    tally = await service.cancel_all(chosen)
    return _done(tally, cancelled=tally.changed, requested=tally.requested)


def _chosen(selection: RetrySelection | CancelSelection) -> bulk.Selection:
    return bulk.Selection(
        [TaskState(status) for status in dict.fromkeys(selection.status)],
        selection.limit,
        selection.type,
        times.as_shown(selection.created_after),
        times.as_shown(selection.created_before),
    )


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
    return Response(json.dumps(members), media_type=_JSON)
