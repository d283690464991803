"""A connection to the mail server, for one mail after another (RFC 5321)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final, NamedTuple, cast

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPRecipientRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from afterwards.mail.answers import Gone, failure, leaves_usable, refused_recipients
from afterwards.mail.message import Letter
from afterwards.mail.settings import MailSettings
from afterwards_executors.retry import PermanentError, TransientError

_PROBE_SECONDS: Final = 5.0
"""The time that a kept connection has to show that it still is one."""

_LOCALHOST: Final = "127.0.0.1"


class Surroundings(NamedTuple):
    """The parts that all connections of a process have in common; they take time to find out."""

    own_name: str
    """For EHLO."""
    tls: ssl.SSLContext

    @classmethod
    def found(cls) -> Surroundings:
        """The surroundings of this machine. Blocks."""
        return cls(_own_name(), ssl.create_default_context())


def _own_name() -> str:
    """The name of this machine, or its address where it has no full name (RFC 5321, 4.1.4)."""
    name = socket.getfqdn()
    if "." in name and name.isascii():
        return name
    try:
        return f"[{socket.gethostbyname(socket.gethostname())}]"
    except OSError:
        return f"[{_LOCALHOST}]"


class Connection:
    """An open connection. One mail at a time; its owner ends it."""

    def __init__(self, smtp: SMTP, settings: MailSettings) -> None:
        self._smtp = smtp
        self._settings = settings
        self._is_fresh = True
        self._may_be_kept = True

    @classmethod
    async def open(cls, settings: MailSettings, surroundings: Surroundings) -> Connection:
        """Connect, and log in if the settings say so.

        Raises:
            PermanentError, TransientError, OSError: it cannot be had; see `answers.failure`.
        """
        server = settings.server
        smtp = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            local_hostname=surroundings.own_name,
            timeout=settings.timeout_seconds,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=surroundings.tls,
        )
        connection = cls(smtp, settings)
        try:
            await smtp.connect()
            if smtp.is_ehlo_or_helo_needed:
                await smtp.ehlo()
        except BaseException as error:
            connection.abort()
            if not isinstance(error, Exception):
                raise
            # Without the chain: some servers repeat the login that they refuse.
            raise failure(error, server, settings.timeout_seconds) from None
        return connection

    @property
    def is_usable(self) -> bool:
        """True if it may take a mail; an end that the server has given it may show later."""
        return self._may_be_kept and self._smtp.is_connected

    async def send(self, letter: Letter) -> str:
        """Send a mail to all of its recipients, or to none.

        Returns:
            The server's words, mostly with the name that it has given the mail.

        Raises:
            Gone: the server has closed the connection, and nothing was sent.
            PermanentError, TransientError, OSError: see `answers.failure`.
        """
        settings = self._settings
        try:
            return await self._send(letter)
        except SMTPServerDisconnected as error:
            self._may_be_kept = False
            raise Gone(f"The mail server {settings.server} closed the connection") from error
        except Exception as error:
            self._may_be_kept = self._may_be_kept and leaves_usable(error)
            raise failure(error, settings.server, settings.timeout_seconds) from error
        except BaseException:
            # A cancelled attempt leaves an answer behind that belongs to no later command.
            self._may_be_kept = False
            raise

    async def _send(self, letter: Letter) -> str:
        smtp = self._smtp
        if not self._is_fresh:
            await self._reset()
        self._is_fresh = False
        self._require_support(letter)
        options = [f"SIZE={len(letter.content)}"] if smtp.supports_extension("size") else []
        options += ["SMTPUTF8"] if letter.wants_utf8 else []
        encoding = "utf-8" if letter.wants_utf8 else "ascii"
        await smtp.mail(letter.sender, options=options, encoding=encoding)
        refusals = []
        for recipient in letter.recipients:
            try:
                await smtp.rcpt(recipient, encoding=encoding)
            except SMTPRecipientRefused as error:
                if not leaves_usable(error):
                    raise
                refusals.append(error)
        if refusals:
            raise refused_recipients(refusals, len(letter.recipients))
        return await self._send_content(letter.content)

    async def _reset(self) -> None:
        """End whatever the last mail has left open. Raises `Gone`: nothing answers any more."""
        seconds = min(_PROBE_SECONDS, self._settings.timeout_seconds)
        try:
            await self._smtp.rset(timeout=seconds)
        except (SMTPException, OSError) as error:
            self._may_be_kept = False
            raise Gone(f"The mail server {self._settings.server} ended the connection") from error

    def _require_support(self, letter: Letter) -> None:
        """See that the server takes mails like this. Raises `PermanentError`."""
        smtp, server = self._smtp, self._settings.server
        if letter.wants_utf8 and not smtp.supports_extension("smtputf8"):
            raise PermanentError(
                f"The mail server {server} supports no addresses beyond ASCII (SMTPUTF8)"
            )
        size, most = len(letter.content), smtp.esmtp_extensions.get("size", "")
        # 0: there is no bound that the server could name (RFC 1870, 3).
        if most.isdecimal() and 0 < int(most) < size:
            raise PermanentError(
                f"The mail has {size} bytes; the mail server {server} takes at most {most}"
            )

    async def _send_content(self, content: bytes) -> str:
        try:
            return (await self._smtp.data(content)).message
        except (SMTPServerDisconnected, SMTPTimeoutError) as error:
            self._may_be_kept = False
            raise TransientError(
                f"The mail server {self._settings.server} did not say whether it took the mail; "
                "another attempt may send it twice, with the same Message-ID"
            ) from error

    async def quit(self) -> None:
        """End it in order, as far as the server goes along with that."""
        try:
            await self._smtp.quit(timeout=_PROBE_SECONDS)
        except (SMTPException, OSError):
            # It is over either way.
            self.abort()

    def abort(self) -> None:
        """End it at once: what was not sent yet never will be."""
        transport = cast("asyncio.WriteTransport | None", self._smtp.transport)
        if transport is not None:
            transport.abort()
        self._smtp.close()
