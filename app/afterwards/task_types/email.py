"""An email with a subject and a body, and perhaps copies, HTML and attachments."""

from __future__ import annotations

import binascii
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
)

from afterwards.mail.content import Attachment, Mail
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


MAX_COPIES: Final = 99
"""With the recipient a hundred, which every server takes (RFC 5321, 4.5.3.1.8)."""
MAX_ATTACHMENTS: Final = 32
MAX_ATTACHED_BYTES: Final = 512 * 1024

_FILE_NAME: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029/\\]{1,255}$"
_MEDIA_TYPE: Final = (
    r"^(application|audio|chemical|font|image|model|text|video|x-[A-Za-z0-9-]{1,32})"
    r"/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$"
)
"""RFC 6838, 4.2; without `multipart` and `message`, which are no files."""
_BASE64: Final = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return binascii.a2b_base64(value.encode("ascii"), strict_mode=True)
    except ValueError:
        raise ValueError("must be in base64") from None


def _encoded(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode()


Base64 = Annotated[
    bytes,
    BeforeValidator(_decoded),
    PlainSerializer(_encoded, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "pattern": _BASE64}),
]


class AttachedFile(BaseModel):
    """A file that goes with an email."""

    name: str = Field(pattern=_FILE_NAME)
    content: Base64
    media_type: str = Field("application/octet-stream", pattern=_MEDIA_TYPE)


class MailPayload(EmailPayload):
    """The message to send, with what only `POST /tasks` takes."""

    html: str | None = Field(None, description="The same as `body`, in HTML.")
    cc: list[EmailAddress] = Field(
        [], max_length=MAX_COPIES, description="Addresses that get a copy, at most 99."
    )
    reply_to: EmailAddress | None = Field(None, description="The address that replies go to.")
    attachments: list[AttachedFile] = Field(
        [],
        max_length=MAX_ATTACHMENTS,
        description="Files, at most 32, and together at most 512 KiB before base64.",
    )

    @field_validator("attachments")
    @classmethod
    def _have_room(cls, attachments: list[AttachedFile]) -> list[AttachedFile]:
        size = sum(len(one.content) for one in attachments)
        if size > MAX_ATTACHED_BYTES:
            raise ValueError(f"must have at most {MAX_ATTACHED_BYTES} bytes together, not {size}")
        return attachments


async def _send(payload: MailPayload, context: TaskContext) -> dict[str, str]:
    if context.resources is not None and not mailbox_simulator.is_simulated(payload.email):
        await context.resources.mail.send(_mail(payload), context.task_id)
        return _SENT
    delay_seconds = context.environment.email_delay_seconds
    await mailbox_simulator.deliver(payload.email, context.attempts_used, delay_seconds)
    return _SENT


def _mail(payload: MailPayload) -> Mail:
    files = [Attachment(one.name, one.media_type, one.content) for one in payload.attachments]
    return Mail(
        to=payload.email,
        subject=payload.subject,
        text=payload.body,
        html=payload.html,
        cc=payload.cc,
        reply_to=payload.reply_to,
        attachments=files,
    )


EMAIL: Final = TaskType("email", MailPayload, _send)
