"""A mail server of aiosmtpd's, in a thread: it keeps what it gets, and answers as it is told."""

from __future__ import annotations

import asyncio
import datetime as dt
import email
import email.policy
import ipaddress
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DROP: Final = "drop the connection, without an answer"
STALL: Final = "give no answer, ever"

_OK: Final = "250 2.0.0 OK"
_WHO: Final = "530 5.7.0 Authentication required"


class Received(NamedTuple):
    """A mail as it has come."""

    sender: str
    recipients: list[str]
    options: list[str]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """Its headers and parts."""
        return email.message_from_bytes(self.content, policy=email.policy.default)


class MailServer:
    """Takes mails until its context is left. What is told it holds from the next command on."""

    def __init__(
        self,
        *,
        certificate: Path | None = None,
        begins_with_tls: bool = False,
        logins: Mapping[str, str] | None = None,
        supports_utf8: bool = True,
        size_limit: int | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.mails: list[Received] = []
        self.connections = 0
        self.most_at_once = 0
        self.commands: list[str] = []
        """The names of all commands, in the order in which they came."""
        self.answers: defaultdict[str, deque[str]] = defaultdict(deque)
        """Answers to the next commands of a name, in place of the usual ones."""
        self.refused: dict[str, str] = {}
        """Recipients, and the answer to each."""
        self.port = 0
        self._logins = logins
        self._seconds = seconds
        self._tls = None if certificate is None else _context(certificate)
        self._begins_with_tls = begins_with_tls
        self._options = {"enable_SMTPUTF8": supports_utf8, "data_size_limit": size_limit}
        self._open: set[_Protocol] = set()
        self._loop = asyncio.new_event_loop()

    @contextmanager
    def running(self) -> Iterator[MailServer]:
        """Listen at a free port of 127.0.0.1."""
        server = self._loop.run_until_complete(self._listen())
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._call(self._end(server))
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _listen(self) -> asyncio.Server:
        ssl_context = self._tls if self._begins_with_tls else None
        server = await self._loop.create_server(self._protocol, "127.0.0.1", 0, ssl=ssl_context)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _end(self, server: asyncio.Server) -> None:
        server.close()
        await self._close_all()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close_connections(self) -> None:
        """Close all, as a server may between two mails."""
        self._call(self._close_all())

    async def _close_all(self) -> None:
        for protocol in [*self._open]:
            protocol.close()
        while self._open:  # noqa: ASYNC110 - each tells of its own end
            await asyncio.sleep(0.001)

    def _call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def _protocol(self) -> _Protocol:
        starttls = None if self._begins_with_tls else self._tls
        return _Protocol(
            self,
            self,
            hostname="mail.example",
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_require_tls=False,
            authenticator=self._authenticate,
            loop=self._loop,
            **self._options,
        )

    # -- what happens to connections -----------------------------------------------------------

    def opened(self, protocol: _Protocol) -> None:
        """Note a connection."""
        self.connections += protocol not in self._open
        self._open.add(protocol)
        self.most_at_once = max(self.most_at_once, len(self._open))

    def closed(self, protocol: _Protocol) -> None:
        """Note its end."""
        self._open.discard(protocol)

    # -- aiosmtpd's hooks ----------------------------------------------------------------------

    def _authenticate(self, _s: Any, _session: Any, _e: Any, _kind: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        known = self._logins or {}
        ok = known.get(data.login.decode()) == data.password.decode()
        return AuthResult(success=ok, handled=False)

    async def handle_EHLO(  # noqa: N802 - aiosmtpd names it
        self, _server: Any, session: Session, _e: Envelope, name: str, answers: list[str]
    ) -> list[str]:
        session.host_name = name
        self.commands.append("EHLO")
        return answers

    async def handle_RSET(self, server: _Protocol, _session: Any, _e: Any) -> str:  # noqa: N802 - the same
        return await self._answer(server, "RSET")

    async def handle_QUIT(self, server: _Protocol, _session: Any, _e: Any) -> str:  # noqa: N802 - the same
        return await self._answer(server, "QUIT", "221 2.0.0 Bye")

    async def handle_MAIL(  # noqa: N802 - the same
        self, server: _Protocol, session: Session, envelope: Envelope, sender: str, options: Any
    ) -> str:
        is_stranger = self._logins is not None and not session.authenticated
        answer = await self._answer(server, "MAIL", _WHO if is_stranger else _OK)
        if answer.startswith("250"):
            envelope.mail_from = sender
            envelope.mail_options.extend(options)
        return answer

    async def handle_RCPT(  # noqa: N802 - the same
        self, server: _Protocol, _s: Any, envelope: Envelope, recipient: str, _options: list[str]
    ) -> str:
        answer = await self._answer(server, "RCPT", self.refused.get(recipient, _OK))
        if answer.startswith("250"):
            envelope.rcpt_tos.append(recipient)
        return answer

    async def handle_DATA(self, server: _Protocol, _session: Any, envelope: Envelope) -> str:  # noqa: N802 - the same
        await asyncio.sleep(self._seconds)
        answer = await self._answer(server, "DATA", "250 2.0.0 Ok: queued as 4F2A")
        if answer.startswith("250"):
            assert isinstance(envelope.original_content, bytes)
            self._take(envelope, envelope.original_content)
        return answer

    def _take(self, envelope: Envelope, content: bytes) -> None:
        sender, options = str(envelope.mail_from), [*envelope.mail_options]
        self.mails.append(Received(sender, [*envelope.rcpt_tos], options, content))

    async def _answer(self, server: _Protocol, command: str, usual: str = _OK) -> str:
        self.commands.append(command)
        told = self.answers[command]
        answer = told.popleft() if told else usual
        if answer == DROP:
            server.abort()
        if answer in (DROP, STALL):
            await asyncio.sleep(3600)
        if answer.startswith("421"):
            asyncio.get_running_loop().call_later(0.01, server.close)
        return answer


class _Protocol(SMTP):
    """Tells the server of its beginning and end."""

    def __init__(self, owner: MailServer, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._owner.opened(self)

    def close(self) -> None:
        """Close the connection in order."""
        cast("asyncio.WriteTransport", self.transport).close()

    def abort(self) -> None:
        """Reset the connection."""
        cast("asyncio.WriteTransport", self.transport).abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.closed(self)
        super().connection_lost(error)


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def write_certificate(file: Path) -> Path:
    """Write a fresh certificate of 127.0.0.1 that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file
