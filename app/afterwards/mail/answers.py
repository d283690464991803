"""The meaning of a mail server's answers: which errors pass, and their words for people.

4yz passes, 5yz does not (RFC 5321, 4.2.1). What the network does to a connection passes, too.
"""

from __future__ import annotations

import base64
import errno
import re
import ssl
from collections.abc import Sequence
from typing import Final

from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from afterwards.mail.settings import SmtpServer
from afterwards_executors.retry import PermanentError, TransientError

CLOSING: Final = 421
"""The server closes the connection, whatever it was asked (RFC 5321, 4.2.3)."""

_REFUSED_FOR_GOOD: Final = range(500, 600)
_REFUSALS: Final = range(400, 600)

_MOST_CHARACTERS: Final = 300
_MOST_TOLD: Final = 5
"""Refused recipients that an error names."""


class Gone(TransientError):
    """The server has closed the connection, and has taken nothing of the mail."""


MailError = PermanentError | TransientError


def leaves_usable(error: BaseException) -> bool:
    """True if the connection can take another mail after this error."""
    if isinstance(error, SMTPResponseException):
        return error.code in _REFUSALS and error.code != CLOSING
    return isinstance(error, MailError) and not isinstance(error, Gone)


def failure(error: Exception, server: SmtpServer, seconds: float) -> Exception:
    """The error that an attempt ends with, after this one of a connection.

    Args:
        seconds: the time that the server had for each answer.
    """
    if isinstance(error, SMTPResponseException):
        return _refusal(error, server)
    if isinstance(error, TimeoutError):
        return TransientError(f"The mail server {server} gave no answer within {seconds:g} s")
    if isinstance(error, OSError):
        return _failure_of_network(error, server)
    if isinstance(error, SMTPException):
        # What the server does not offer, such as STARTTLS or a login.
        return PermanentError(f"The mail server {server} cannot be used: {_line(error.message)}")
    return error


def _failure_of_network(error: OSError, server: SmtpServer) -> Exception:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = cause.verify_message
        return PermanentError(f"The certificate of the mail server {server} is refused: {reason}")
    if cause.errno in (errno.EMFILE, errno.ENFILE):
        return cause  # It is the process that lacks something.
    return TransientError(f"The mail server {server} cannot be reached: {_line(str(cause))}")


def refused_recipients(refusals: Sequence[SMTPRecipientRefused], number: int) -> MailError:
    """The error of a mail that was sent to none of its recipients, because these were refused.

    Args:
        number: the number of all recipients.
    """
    kind = _kind_of(max(one.code for one in refusals))
    told = [f"{one.recipient}: {words(one)}" for one in refusals[:_MOST_TOLD]]
    if number == 1:
        return kind(f"The mail server refused {told[0]}")
    more = f"; and {len(refusals) - _MOST_TOLD} more" if len(refusals) > _MOST_TOLD else ""
    return kind(
        f"The mail server refused {len(refusals)} of {number} recipients, and the mail was sent to "
        f"none: {'; '.join(told)}{more}"
    )


def words(error: SMTPResponseException) -> str:
    """The server's answer in one line, its code first."""
    return f"{error.code} {_line(error.message)}".rstrip()


def _refusal(error: SMTPResponseException, server: SmtpServer) -> MailError:
    answer = words(error)
    kind = Gone if error.code == CLOSING else _kind_of(error.code)
    if isinstance(error, SMTPAuthenticationError):
        answer = _without_login(answer, server)
        return kind(f"The mail server {server} refused the login of {server.username}: {answer}")
    if isinstance(error, SMTPSenderRefused):
        return kind(f"The mail server refused the sender {error.sender}: {answer}")
    return kind(f"The mail server answered {answer}")


def _kind_of(code: int) -> type[MailError]:
    return PermanentError if code in _REFUSED_FOR_GOOD else TransientError


def _without_login(text: str, server: SmtpServer) -> str:
    """The text without what some servers repeat of a command that they do not understand."""
    user, password = server.username or "", server.password or ""
    pairs = (f"\0{user}\0{password}", user, password)
    secrets = [password, *(base64.b64encode(one.encode()).decode() for one in pairs)]
    for secret in filter(None, secrets):
        text = text.replace(secret, "**********")
    return text


def _line(text: str) -> str:
    # Servers may send any bytes; those that are no UTF-8 arrive as surrogates.
    clean = text.encode(errors="replace").decode()
    line = re.sub(r"[\s\x00-\x1f\x7f]+", " ", clean).strip()
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"
