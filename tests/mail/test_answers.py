"""The words of a mail server in the errors of attempts."""

from __future__ import annotations

import errno

import pytest
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPRecipientRefused,
)

from afterwards.mail.answers import failure, refused_recipients
from afterwards.mail.settings import SmtpServer
from afterwards_executors.retry import PermanentError, TransientError

SERVER = SmtpServer("mail.example", 465, "tls", "jo", "correct horse")


@pytest.mark.parametrize(
    "repeated",
    [
        "correct horse",
        "Y29ycmVjdCBob3JzZQ==",  # AUTH LOGIN
        "AGpvAGNvcnJlY3QgaG9yc2U=",  # AUTH PLAIN
    ],
)
def test_a_server_that_repeats_the_login_shows_no_password(repeated: str) -> None:
    error = failure(SMTPAuthenticationError(502, f"Unknown: {repeated}"), SERVER, 20.0)
    assert isinstance(error, PermanentError)
    assert repeated not in str(error)
    assert "502 Unknown: ****" in str(error)


def test_an_answer_of_many_lines_and_odd_bytes_is_one_line_of_text() -> None:
    answer = b"5.7.1 Spam\n\x1b[31m see \xff\n".decode(errors="surrogateescape") + "x" * 1000
    message = str(failure(SMTPDataError(554, answer), SERVER, 20.0))
    assert message.startswith("The mail server answered 554 5.7.1 Spam [31m see ? xxx")
    assert message.isprintable()
    assert len(message) < 400


def test_of_many_refused_recipients_the_first_are_named() -> None:
    refused = [SMTPRecipientRefused(450, "Later", f"r{n}@example.com") for n in range(9)]
    error = refused_recipients(refused, 10)
    assert isinstance(error, TransientError)
    assert "refused 9 of 10 recipients" in str(error)
    assert "r4@example.com: 450 Later; and 4 more" in str(error)


def test_a_lack_of_descriptors_is_passed_on_as_what_it_is() -> None:
    lack = OSError(errno.EMFILE, "Too many open files")
    error = SMTPConnectError("Error connecting")
    error.__cause__ = lack
    assert failure(error, SERVER, 20.0) is lack


def test_an_error_of_the_programs_own_is_passed_on_as_it_is() -> None:
    mistake = KeyError("x")
    assert failure(mistake, SERVER, 20.0) is mistake
