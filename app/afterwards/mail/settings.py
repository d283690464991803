"""The settings of mail: the server, the sender, and the bounds of its connections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from email_validator import EmailNotValidError, validate_email

Security = Literal["none", "starttls", "tls"]

URL_RULE: Final = (
    "must be smtp://, smtps:// or smtp+starttls://, then USER:PASSWORD@ if the server wants a "
    "login, then HOST or HOST:PORT; other characters than letters, digits and '-._~' in user and "
    "password are written as %XX"
)

SENDER_RULE: Final = "must be an address, or Name <address>"

_SCHEMES: Final[Mapping[str, tuple[Security, int]]] = MappingProxyType(
    {"smtp": ("none", 25), "smtps": ("tls", 465), "smtp+starttls": ("starttls", 587)}
)
"""The security of each, and its usual port (RFC 5321, 8314 and 6409)."""

_HOST: Final = re.compile(r"[\w.:-]{1,255}")

_NAMED: Final = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")


@dataclass(frozen=True)
class SmtpServer:
    """A mail server, and the login there. Its `repr` does not show the password."""

    host: str
    port: int
    security: Security
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of_url(cls, url: str) -> SmtpServer:
        """The server that a URL names.

        Raises:
            ValueError: it is no such URL. The message shows nothing of it: what is wrong may be the
                password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(URL_RULE) from None
        if parts.scheme not in _SCHEMES or not _names_a_host(parts):
            raise ValueError(URL_RULE)
        security, usual_port = _SCHEMES[parts.scheme]
        username, password = _unquoted(parts.username), _unquoted(parts.password)
        if password and not username:
            raise ValueError(URL_RULE)
        return cls(str(parts.hostname), port or usual_port, security, username, password)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _names_a_host(parts: SplitResult) -> bool:
    rest = (parts.path.removeprefix("/"), parts.query, parts.fragment)
    return not any(rest) and _HOST.fullmatch(parts.hostname or "") is not None and parts.port != 0


def _unquoted(text: str | None) -> str | None:
    return unquote(text) if text else None


class Mailbox(NamedTuple):
    """An address as it stands in headers and on the wire."""

    local_part: str
    domain: str
    ascii_domain: str
    name: str = ""
    """The person's or the service's, for a header."""

    @classmethod
    def of(cls, address: str, name: str = "") -> Mailbox:
        """The mailbox at an address.

        A domain beyond ASCII is written in its ASCII form, which all servers understand, unless
        the part before it is beyond ASCII, too (RFC 6531, 3.7.1).

        Raises:
            ValueError: it is no address.
        """
        try:
            found = validate_email(address, check_deliverability=False)
        except EmailNotValidError as error:
            raise ValueError(f"not an email address: {error}") from None
        domain = found.domain if found.ascii_email is None else found.ascii_domain
        return cls(found.local_part, domain, found.ascii_domain, name)

    @property
    def address(self) -> str:
        """As SMTP's commands have it."""
        return f"{self.local_part}@{self.domain}"


def sender_of(text: str) -> Mailbox:
    """The sender that a setting names, as an address or as `Name <address>`.

    Raises:
        ValueError: it names none.
    """
    found = _NAMED.fullmatch(text.strip())
    name, address = (found["name"], found["address"]) if found else ("", text)
    name = name.strip().removeprefix('"').removesuffix('"')
    if not name.isprintable():
        raise ValueError(f"{SENDER_RULE}, in one line")
    try:
        return Mailbox.of(address.strip(), name)
    except ValueError as error:
        raise ValueError(f"{SENDER_RULE}: {error}") from None


@dataclass(frozen=True)
class MailSettings:
    """All that a process has to know to send mail."""

    server: SmtpServer
    sender: Mailbox
    notification_subject: str
    connections: int
    """The number of connections that the host of one worker holds at most."""
    workers: int
    timeout_seconds: float
    """The time that the server has for each answer."""

    @property
    def most_at_once(self) -> int:
        """The number of connections that all workers hold at most."""
        return self.connections * self.workers
