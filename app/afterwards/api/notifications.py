"""The notification demonstration: no body needed, answered at once."""

from __future__ import annotations

from typing import Final

from fastapi import BackgroundTasks, Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.roles import Grant, Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.fields import TASK_LABELS
from afterwards.api.submission import AcceptedResponse, submit, submits
from afterwards.task_types.mailbox_simulator import DELIVERED
from afterwards.task_types.notification import NOTIFICATION, NotificationPayload

router = new_router("Notifications")

_PAYLOAD: Final = NotificationPayload(email=DELIVERED, message="This is a demonstration.")
_SCHEDULED: Final = b'{"ok":true,"message":"Notification scheduled in background"}'


@router.post(
    "/api/notifications/notify",
    summary="Send a demonstration notification",
    operation_id="notifyDemonstration",
    response_model=schemas.Scheduled,
    response_description="Scheduled",
    **schemas.accepting(200, problems=(422, 503), parameters=[TASK_LABELS]),
)
@needs(Role.SUBMITTER, grant=Grant.SUBMIT)
@submits(NOTIFICATION.name)
async def notify(background: BackgroundTasks, request: Request) -> Response:
    """Send a notification to `success@simulator.example`. A body is ignored."""
    submission = await submit(request, background, NOTIFICATION.name, _PAYLOAD)
    return AcceptedResponse(request, 200, _SCHEDULED, submission)
