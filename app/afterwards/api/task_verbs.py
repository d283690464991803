"""Verbs for one task: cancelling, retrying, running it now."""

from __future__ import annotations

from typing import Final

from fastapi import BackgroundTasks, Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.asker import asker
from afterwards.api.encoding import encoded, raw
from afterwards.api.queries import flag_of
from afterwards.api.redaction import shown
from afterwards.api.references import reference
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas import fields
from afterwards.api.schemas.requests import NewPayload
from afterwards.api.schemas.tasks import Cancellation, TaskDocument
from afterwards.api.submission import service_of
from afterwards.api.task_changes import replaced
from afterwards.api.task_document import base_document
from afterwards.service.bulk import AS_IT_WAS

router = new_router("Tasks of any type")

_JSON: Final = "application/json"


@router.post(
    "/tasks/{task_id}/cancel",
    summary="Cancel a task",
    operation_id="cancelTask",
    response_model=Cancellation,
    response_description="The outcome of the cancellation",
    responses=schemas.answers(
        422,
        *schemas.KNOWN_PROBLEMS,
        said={422: ("`children` is neither 0 nor 1.", "#/children: must be 0 or 1")},
    ),
    openapi_extra={"parameters": [fields.CHILDREN]},
)
@needs(Role.OPERATOR, own=Role.SUBMITTER)
async def cancel_task(task_id: schemas.TaskId, request: Request) -> Response:
    """Cancel a task that waits, or stop one that runs. The call waits up to 5 s for the stop.

    A task whose cancellation was asked for submits no more tasks.
    """
    with_children = flag_of(request, "children")
    service = service_of(request)
    outcome, task = await service.cancel(task_id, asker(request))
    children = None
    if with_children:
        tally = await service.cancel_descendants(task_id, asker(request))
        children = {"cancelled": tally.changed, "requested": tally.requested, "more": tally.more}
    document = base_document(await shown(request, task))
    answer = encoded({"outcome": outcome, "task": raw(document), "children": children})
    return Response(answer, media_type=_JSON)


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
@needs(Role.OPERATOR, own=Role.SUBMITTER)
async def retry_task(
    task_id: schemas.TaskId,
    background: BackgroundTasks,
    request: Request,
    new: NewPayload | None = None,
) -> Response:
    """Give a failed or cancelled task a fresh round of attempts.

    The body may give the task another payload, move it to another type, or say when it is due.

    One of two retries at once succeeds.
    """
    service = service_of(request)
    changes = AS_IT_WAS
    if new is not None and (new.payload is not None or new.new_type is not None):
        task = await service.get(task_id)
        changes = await replaced(request, task, new.payload, new.new_type)
    run_at = None if new is None else new.run_at
    task = await service.retry(task_id, changes, run_at, asker(request))
    background.add_task(service.start, task.id)
    location = reference(request.scope, f"/tasks/{task.id}")
    document = base_document(await shown(request, task))
    return Response(document, 202, {"Location": location}, _JSON)


@router.post(
    "/tasks/{task_id}/run",
    summary="Run a task now",
    operation_id="runTask",
    response_model=TaskDocument,
    response_description="The task is due",
    responses=schemas.answers(409, *schemas.KNOWN_PROBLEMS),
)
@needs(Role.OPERATOR)
async def run_task(
    task_id: schemas.TaskId, background: BackgroundTasks, request: Request
) -> Response:
    """Make a scheduled task due, also one that waits for another attempt."""
    service = service_of(request)
    task = await service.run(task_id, asker(request))
    background.add_task(service.start, task.id)
    return Response(base_document(await shown(request, task)), media_type=_JSON)
