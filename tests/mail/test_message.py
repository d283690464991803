"""The form of a mail: what the receiving side reads, and what cannot get into it."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterwards.mail.content import Attachment, Mail
from afterwards.mail.message import Letter, letter, message_id_of
from afterwards.mail.settings import sender_of

SENDER = sender_of('"Grüße, Shop" <no-reply@example.com>')
LONG = f"{'a' * 64}@{'.'.join(['b' * 50] * 3)}.example"


def made(**changes: Any) -> Letter:
    mail = Mail(**{"to": "jo@example.com", "subject": "Hello", "text": "Text", **changes})
    return letter(mail, SENDER, message_id_of("task-1", SENDER))


def read(letter: Letter) -> EmailMessage:
    return email.message_from_bytes(letter.content, policy=email.policy.default)


def text_of(part: Any) -> str:
    text: str = part.get_content()
    return text.replace("\r\n", "\n")


def test_all_parts_arrive_as_they_were_given() -> None:
    message = read(
        made(
            text="Guten Tag 🎉",
            html="<p>Guten Tag 🎉</p>",
            attachments=[Attachment('Rechnung "ü".pdf', "application/pdf", b"%PDF\0\xff\r\n.\n")],
        )
    )
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text_of(plain) == "Guten Tag 🎉\n"
    assert text_of(html) == "<p>Guten Tag 🎉</p>\n"
    (attachment,) = message.iter_attachments()
    assert attachment.get_filename() == 'Rechnung "ü".pdf'
    assert attachment.get_content_type() == "application/pdf"
    assert attachment.get_content() == b"%PDF\0\xff\r\n.\n"


def test_copies_get_the_mail_and_replies_go_elsewhere() -> None:
    one = made(cc=["a@example.com", "b@example.com"], reply_to="desk@example.com")
    assert one.recipients == ["jo@example.com", "a@example.com", "b@example.com"]
    assert str(read(one)["Cc"]) == "a@example.com, b@example.com"
    assert str(read(one)["Reply-To"]) == "desk@example.com"


def test_who_is_named_twice_gets_one() -> None:
    assert made(cc=["jo@example.com", "jo@EXAMPLE.com"]).recipients == ["jo@example.com"]


def test_a_name_beyond_ascii_with_a_comma_is_one_sender() -> None:
    (sender,) = read(made())["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Grüße, Shop", "no-reply@example.com")


def test_the_longest_address_is_neither_broken_nor_encoded() -> None:
    one = made(to=LONG, cc=["jo@example.com"])
    assert f"To: {LONG}\r\n".encode() in one.content
    assert one.recipients[0] == LONG


def test_no_line_is_longer_than_smtp_allows() -> None:
    one = made(to=LONG, subject="ü" * 3000, text="x" * 5000, html="y" * 5000)
    assert max(map(len, one.content.split(b"\r\n"))) <= 998
    assert text_of(read(one).get_body(("plain",))) == "x" * 5000 + "\n"


def test_an_address_beyond_ascii_stands_in_utf_8() -> None:
    one = made(to="jürgen@bücher.example")
    assert one.wants_utf8
    assert "To: jürgen@bücher.example\r\n".encode() in one.content


def test_a_domain_beyond_ascii_stands_in_its_ascii_form() -> None:
    one = made(to="jo@bücher.example")
    assert not one.wants_utf8
    assert b"To: jo@xn--bcher-kva.example\r\n" in one.content


def test_the_id_of_a_sender_beyond_ascii_is_in_ascii() -> None:
    assert message_id_of("task-1", sender_of("jo@bücher.example")) == (
        "<task-1@xn--bcher-kva.example>"
    )


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_a_line_break_in_a_subject_makes_no_mail(end: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)header"):
        made(subject=f"Hello{end}Bcc: victim@example.com")


@given(st.text(), st.text())
@settings(deadline=None)
def test_no_text_becomes_a_header_or_a_recipient(subject: str, name: str) -> None:
    attachment = Attachment(f"{name}.txt", "text/plain", b"content")
    try:
        one = made(subject=subject, attachments=[attachment])
    except (ValueError, UnicodeError):
        return  # It makes no mail at all.
    head = one.content.partition(b"\r\n\r\n")[0].decode()
    names = [line.partition(":")[0] for line in head.split("\r\n") if line[:1] not in " \t"]
    assert names == [
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version",
        "Content-Type",
    ]  # fmt: skip
    assert one.recipients == ["jo@example.com"]
    (part,) = read(one).iter_attachments()
    assert part.get_content() in ("content", b"content")
    assert part.keys() == [
        "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "MIME-Version"
    ]  # fmt: skip


def test_lines_of_a_text_are_no_headers_and_no_end_of_the_mail() -> None:
    one = made(text="\r\n.\r\nBcc: victim@example.com\r\nRCPT TO:<victim@example.com>")
    assert read(one)["Bcc"] is None
    assert one.recipients == ["jo@example.com"]
