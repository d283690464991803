"""The form of a mail: from what is to be said to bytes (RFC 5322, MIME)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from typing import Final

from afterwards.mail.content import Mail
from afterwards.mail.settings import Mailbox

_PLAIN: Final = SMTP.clone(cte_type="7bit")
"""No part has bytes beyond ASCII, so every server takes it (8BITMIME is not needed)."""
_INTERNATIONAL: Final = SMTPUTF8.clone(cte_type="7bit")
"""The same, with headers in UTF-8 (RFC 6532)."""


@dataclass(frozen=True)
class Letter:
    """A mail as it travels: an envelope and its content."""

    sender: str
    recipients: Sequence[str]
    content: bytes
    message_id: str
    wants_utf8: bool
    """True if an address is beyond ASCII, so the server has to support SMTPUTF8 (RFC 6531)."""


def letter(mail: Mail, sender: Mailbox, message_id: str) -> Letter:
    """The mail with its envelope.

    Raises:
        ValueError: a header would have a line break, or an address is none.
    """
    to, cc = Mailbox.of(mail.to), [Mailbox.of(one) for one in mail.cc]
    reply_to = [] if mail.reply_to is None else [Mailbox.of(mail.reply_to)]
    wants_utf8 = not all(one.address.isascii() for one in (sender, to, *cc, *reply_to))
    message = EmailMessage(policy=_INTERNATIONAL if wants_utf8 else _PLAIN)
    message["From"] = _header(sender)
    message["To"] = _header(to)
    if cc:
        message["Cc"] = [_header(one) for one in cc]
    if reply_to:
        message["Reply-To"] = [_header(one) for one in reply_to]
    message["Subject"] = mail.subject
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = message_id
    # No holiday notice answers a machine (RFC 3834, 5).
    message["Auto-Submitted"] = "auto-generated"
    _fill(message, mail)
    recipients = list(dict.fromkeys(one.address for one in (to, *cc)))
    return Letter(sender.address, recipients, message.as_bytes(), message_id, wants_utf8)


def message_id_of(task_id: str, sender: Mailbox) -> str:
    """The id of a task's mail, the same in each attempt: who gets it twice can tell."""
    return f"<{task_id}@{sender.ascii_domain}>"


def _header(mailbox: Mailbox) -> Address:
    return Address(mailbox.name, username=mailbox.local_part, domain=mailbox.domain)


def _fill(message: EmailMessage, mail: Mail) -> None:
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
    for one in mail.attachments:
        kind, _, subtype = one.media_type.partition("/")
        message.add_attachment(one.content, maintype=kind, subtype=subtype, filename=one.name)
