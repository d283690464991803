"""An email with a subject and a body."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from afterwards.task_types import mailbox_simulator
from afterwards.task_types.base import EmailAddress, SingleLine, TaskContext, TaskType

_SENT: Final = {"message": "Email sent successfully"}


class EmailPayload(BaseModel):
    """The message to send."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "user@example.com", "subject": "Hello", "body": "Test email"}]
        }
    )

    email: EmailAddress
    subject: SingleLine
    body: str


async def _send(payload: EmailPayload, context: TaskContext) -> dict[str, str]:
    delay_seconds = context.environment.email_delay_seconds
    await mailbox_simulator.deliver(payload.email, context.attempts_used, delay_seconds)
    return _SENT


EMAIL: Final = TaskType("email", EmailPayload, _send)
