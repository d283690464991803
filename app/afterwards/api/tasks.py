"""The task service: three kinds of work, one way to see how they stand, and the retry by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fastapi import BackgroundTasks, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.asker import asker
from afterwards.api.encoding import REDACTED, encoded, raw
from afterwards.api.redaction import shown
from afterwards.api.references import reference
from afterwards.api.roles import Grant, Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.fields import TASK_LABELS
from afterwards.api.submission import kept_task, service_of, started, submit, submits
from afterwards.api.times import shown_time
from afterwards.errors import IllegalTransition, TaskDeleted, TaskNotFound
from afterwards.lifecycle import Task, TaskState
from afterwards.service.hidden import HIDDEN
from afterwards.task_types.file import FILE, FilePayload
from afterwards.task_types.notification import NOTIFICATION, NotificationPayload
from afterwards.task_types.report import REPORT, ReportPayload

router = new_router("Tasks")

_ACCEPTING: Final = {
    "response_model": schemas.Started,
    "response_description": "Accepted",
    **schemas.accepting(202, parameters=[TASK_LABELS]),
}

SHOWN_AS: Final[Mapping[TaskState, str]] = MappingProxyType(
    {
        TaskState.SCHEDULED: "pending",
        TaskState.PENDING: "pending",
        TaskState.PROCESSING: "pending",
        TaskState.SUCCESS: "success",
        TaskState.FAILED: "failed",
        TaskState.CANCELLED: "failed",
    }
)
"""This surface knows three states."""


@router.post(
    "/notify/",
    summary="Send a notification",
    operation_id="notify",
    **_ACCEPTING,
)
@needs(Role.SUBMITTER, grant=Grant.SUBMIT)
@submits(NOTIFICATION.name)
async def notify(
    payload: NotificationPayload, background: BackgroundTasks, request: Request
) -> Response:
    """Send a message to an address in the background.

    To try out failure and retry, send to `bounce@simulator.example`, which fails for good, or to
    `flaky@simulator.example`, which fails in the first attempt only.
    """
    return started(request, 202, await submit(request, background, NOTIFICATION.name, payload))


@router.post(
    "/report/",
    summary="Generate a report",
    operation_id="generateReport",
    **_ACCEPTING,
)
@needs(Role.SUBMITTER, grant=Grant.SUBMIT)
@submits(REPORT.name)
async def generate_report(
    payload: ReportPayload, background: BackgroundTasks, request: Request
) -> Response:
    """Generate a report from its details, in a process of its own."""
    return started(request, 202, await submit(request, background, REPORT.name, payload))


@router.post(
    "/file/",
    summary="Save a JSON file",
    operation_id="saveFile",
    **_ACCEPTING,
)
@needs(Role.SUBMITTER, grant=Grant.SUBMIT)
@submits(FILE.name)
async def save_file(
    payload: FilePayload, background: BackgroundTasks, request: Request
) -> Response:
    """Save the content as `<task id>.json` in the output directory, whole or not at all."""
    return started(request, 202, await submit(request, background, FILE.name, payload))


@router.get(
    "/status/{task_id}",
    summary="Get a task's status",
    operation_id="getStatus",
    response_model=schemas.TaskStatus,
    response_description="The task's status",
    responses=schemas.answers(*schemas.LOOKUP_PROBLEMS),
)
@needs(Role.VIEWER)
async def get_status(task_id: schemas.TaskId, request: Request) -> Response:
    """Show the status of any task, whichever route accepted it."""
    task = await shown(request, await kept_task(request, task_id))
    return Response(_status_document(task), media_type="application/json")


@router.post(
    "/retry-task/{task_id}",
    summary="Retry a failed task",
    operation_id="retryTask",
    response_model=schemas.Retried,
    response_description="Retried",
    responses=schemas.answers(400, *schemas.LOOKUP_PROBLEMS, headers_of={200: schemas.LOCATION}),
)
@needs(Role.OPERATOR, own=Role.SUBMITTER)
async def retry_task(
    task_id: schemas.TaskId, background: BackgroundTasks, request: Request
) -> Response:
    """Give a failed or cancelled task a fresh round of attempts.

    One of two retries at once succeeds.
    """
    service = service_of(request)
    try:
        task = await service.retry(task_id, by=asker(request))
    except IllegalTransition as error:
        # In the words of this surface: its callers never see a task "processing".
        shown_as = SHOWN_AS[TaskState(error.state)]
        detail = f"Only a failed task can be retried; task {error.task_id} is {shown_as}"
        raise HTTPException(400, detail) from None
    except TaskDeleted:
        raise TaskNotFound(task_id) from None
    background.add_task(service.start, task.id)
    return Response(
        encoded({"task_id": task.id, "status": "retried"}),
        headers={"Location": reference(request.scope, f"/status/{task.id}")},
        media_type="application/json",
    )


def _status_document(task: Task) -> bytes:
    shown_as = SHOWN_AS[task.state]
    return encoded(
        {
            "id": task.id,
            "type": task.type,
            "status": shown_as,
            "result": raw(task.result),
            "error": task.error if shown_as == "failed" else None,
            "timestamp": shown_time(task.created_at),
            "retries": task.retries,
            **(REDACTED if task.payload is HIDDEN else {}),
        }
    )
