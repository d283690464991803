"""A notification: a short message to an address."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from afterwards.mail.content import Mail
from afterwards.task_types import mailbox_simulator
from afterwards.task_types.base import EmailAddress, TaskContext, TaskType

_SENT: Final = {"message": "Notification sent"}


class NotificationPayload(BaseModel):
    """The message to a user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"email": "johndoe@example.com", "message": "Your submission was received."}
            ]
        }
    )

    email: EmailAddress
    message: str


async def _send(payload: NotificationPayload, context: TaskContext) -> dict[str, str]:
    if context.resources is not None and not mailbox_simulator.is_simulated(payload.email):
        mailer = context.resources.mail
        mail = Mail(payload.email, mailer.notification_subject, payload.message)
        await mailer.send(mail, context.task_id)
        return _SENT
    delay_seconds = context.environment.notification_delay_seconds
    await mailbox_simulator.deliver(payload.email, context.attempts_used, delay_seconds)
    return _SENT


NOTIFICATION: Final = TaskType("notification", NotificationPayload, _send)
