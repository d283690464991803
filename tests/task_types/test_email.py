"""Payloads of mail: which are taken, and what is sent for them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from afterwards.mail.content import Attachment, Mail
from afterwards.task_types.base import PermanentError, TaskContext
from afterwards.task_types.email import (
    EMAIL,
    MAX_ATTACHED_BYTES,
    MAX_ATTACHMENTS,
    MAX_COPIES,
    EmailPayload,
)
from afterwards.task_types.notification import NOTIFICATION

PLAIN = {"email": "jo@example.com", "subject": "Hello", "body": "Text"}
MakeContext = Callable[..., TaskContext]


@dataclass
class Recorder:
    """In the place of the mailer."""

    notification_subject: str = "News"
    sent: list[tuple[Mail, str]] = field(default_factory=list)

    async def send(self, mail: Mail, task_id: str) -> None:
        self.sent.append((mail, task_id))


def run(task_type: Any, payload: dict[str, Any], context: TaskContext) -> tuple[Any, Recorder]:
    recorder = Recorder()
    context.resources = SimpleNamespace(mail=recorder)
    result = anyio.run(task_type.run, task_type.payload.model_validate(payload), context)
    return result, recorder


def refused(**members: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        EMAIL.payload.model_validate(PLAIN | members)
    (problem,) = caught.value.errors()
    return str(problem["msg"])


def attached(size: int, **members: Any) -> dict[str, Any]:
    return {"name": "a.bin", "content": base64.b64encode(bytes(size)).decode(), **members}


def test_an_email_is_sent_with_all_that_its_payload_has(make_context: MakeContext) -> None:
    payload = PLAIN | {
        "html": "<p>Text</p>",
        "cc": ["desk@example.com"],
        "reply_to": "desk@example.com",
        "attachments": [{"name": "ü.txt", "content": "SGFsbG8=", "media_type": "text/plain"}],
    }
    context = make_context()
    result, recorder = run(EMAIL, payload, context)
    assert result == {"message": "Email sent successfully"}
    mail = Mail(
        to="jo@example.com",
        subject="Hello",
        text="Text",
        html="<p>Text</p>",
        cc=["desk@example.com"],
        reply_to="desk@example.com",
        attachments=[Attachment("ü.txt", "text/plain", b"Hallo")],
    )
    assert recorder.sent == [(mail, context.task_id)]


def test_a_notification_is_sent_under_the_subject_of_the_setting(
    make_context: MakeContext,
) -> None:
    context = make_context()
    result, recorder = run(NOTIFICATION, {"email": "jo@example.com", "message": "Hi"}, context)
    assert result == {"message": "Notification sent"}
    assert recorder.sent == [(Mail("jo@example.com", "News", "Hi"), context.task_id)]


def test_the_simulators_addresses_get_no_mail(make_context: MakeContext) -> None:
    _, recorder = run(EMAIL, PLAIN | {"email": "success@Simulator.example"}, make_context())
    assert recorder.sent == []
    with pytest.raises(PermanentError):
        run(NOTIFICATION, {"email": "bounce@simulator.example", "message": "x"}, make_context())


def test_the_body_of_the_email_service_is_what_it_was() -> None:
    assert set(EmailPayload.model_fields) == {"email", "subject", "body"}
    assert EMAIL.payload.model_validate(PLAIN).model_dump(exclude_defaults=True) == PLAIN


def test_an_attachment_survives_being_written_and_read() -> None:
    payload = EMAIL.payload.model_validate(PLAIN | {"attachments": [attached(3)]})
    assert EMAIL.payload.model_validate_json(payload.model_dump_json()) == payload


def test_attachments_have_room_for_512_kib_together() -> None:
    half = MAX_ATTACHED_BYTES // 2
    EMAIL.payload.model_validate(PLAIN | {"attachments": [attached(half), attached(half)]})
    message = refused(attachments=[attached(half), attached(half), attached(1)])
    assert "at most 524288 bytes together, not 524289" in message


def test_there_are_bounds_of_attachments_and_copies() -> None:
    assert "at most 32" in refused(attachments=[attached(1)] * (MAX_ATTACHMENTS + 1))
    assert "at most 99" in refused(cc=["jo@example.com"] * (MAX_COPIES + 1))


@pytest.mark.parametrize("content", ["SGFsbG8", "SGFs bG8=", "Hallo!", "SGFsbG8=SGFsbG8=", "ü"])
def test_the_content_of_an_attachment_is_base64(content: str) -> None:
    assert "base64" in refused(attachments=[{"name": "a", "content": content}])


@pytest.mark.parametrize("name", ["", "a\r\nBcc: x", "a\nb", "../a", "a\\b", "a\0", "x" * 256])
def test_the_name_of_an_attachment_is_a_plain_one(name: str) -> None:
    assert refused(attachments=[attached(1, name=name)])


@pytest.mark.parametrize(
    "media_type",
    ["text", "text/", "/plain", "text/plain; charset=x", "text/plain\r\nBcc: x", "message/rfc822",
     "multipart/mixed", "text/plain\n"],
)  # fmt: skip
def test_the_media_type_of_an_attachment_is_that_of_a_file(media_type: str) -> None:
    assert refused(attachments=[attached(1, media_type=media_type)])


@pytest.mark.parametrize("member", ["email", "reply_to"])
@pytest.mark.parametrize(
    "address", ["jo", "jo@example.com\r\nBcc: x@y.z", "a@b.c, d@e.f", "<a@b.c>"]
)
def test_an_address_is_one_address(member: str, address: str) -> None:
    assert "not an email address" in refused(**{member: address})
    assert "not an email address" in refused(cc=[address])
