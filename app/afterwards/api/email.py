"""The email service: sending, and a status that tells processing from waiting."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fastapi import BackgroundTasks, Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.encoding import REDACTED, encoded, raw
from afterwards.api.redaction import shown
from afterwards.api.roles import Grant, Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.fields import TASK_LABELS
from afterwards.api.submission import kept_task, started, submit, submits
from afterwards.lifecycle import Task, TaskState
from afterwards.service.hidden import HIDDEN
from afterwards.task_types.email import EMAIL, EmailPayload

router = new_router("Email")

SHOWN_AS: Final[Mapping[TaskState, str]] = MappingProxyType(
    {
        TaskState.SCHEDULED: "pending",
        TaskState.PENDING: "pending",
        TaskState.PROCESSING: "processing",
        TaskState.SUCCESS: "completed",
        TaskState.FAILED: "failed",
        TaskState.CANCELLED: "failed",
    }
)
"""This surface knows four states, and success by another name."""


@router.post(
    "/send-email",
    summary="Send an email",
    operation_id="sendEmail",
    response_model=schemas.Started,
    response_description="Accepted",
    **schemas.accepting(200, parameters=[TASK_LABELS]),
)
@needs(Role.SUBMITTER, grant=Grant.SUBMIT)
@submits(EMAIL.name)
async def send_email(
    payload: EmailPayload, background: BackgroundTasks, request: Request
) -> Response:
    """Send an email in the background.

    To try out failure and retry, send to `bounce@simulator.example`, which fails for good, or to
    `flaky@simulator.example`, which fails in the first attempt only.
    """
    return started(request, 200, await submit(request, background, EMAIL.name, payload))


@router.get(
    "/task/{task_id}/status",
    summary="Get a task's processing status",
    operation_id="getProcessingStatus",
    response_model=schemas.ProcessingStatus,
    response_description="The task's status",
    responses=schemas.answers(*schemas.LOOKUP_PROBLEMS),
)
@needs(Role.VIEWER)
async def get_processing_status(task_id: schemas.TaskId, request: Request) -> Response:
    """Show the status of any task, whichever route accepted it."""
    task = await shown(request, await kept_task(request, task_id))
    return Response(_status_document(task), media_type="application/json")


def _status_document(task: Task) -> bytes:
    shown_as = SHOWN_AS[task.state]
    return encoded(
        {
            "task_id": task.id,
            "status": shown_as,
            "result": raw(task.result),
            "error": task.error if shown_as == "failed" else None,
            **(REDACTED if task.payload is HIDDEN else {}),
        }
    )
