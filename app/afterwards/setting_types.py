"""The types of settings' values, with their checks."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from afterwards.encryption_keys import EncryptionKeys
from afterwards.mail.settings import SmtpServer, sender_of
from afterwards.outgoing.reach import host_pattern
from afterwards.webhooks.signatures import key_of

UNIX: Final = "unix:"
DAY: Final = 86_400.0
"""In seconds."""

_HOST: Final = re.compile(r"[\w-]+(\.[\w-]+)*\.?", re.ASCII)

_MEMBER: Final = re.compile(r"[\w-]+", re.ASCII)

_MODE: Final = re.compile("0?[0-7]{3}", re.ASCII)

_WEB_ADDRESS: Final = re.compile(r"https?://[!-~]+")

_DASK_ADDRESS: Final = re.compile(r"(tcp|tls|ws|wss)://[!-~]+")

_ROOT_PATH: Final = re.compile(r"(/[\w.~!$&'()*+,;=:@%-]+)*", re.ASCII)
"""The paths of RFC 3986, 3.3, without empty segments."""


def _address(value: str) -> str:
    if value.startswith(UNIX) and len(value) > len(UNIX):
        return value
    host, colon, port = value.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError("must be HOST:PORT with a port up to 65535, or unix:PATH")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("must have an IPv6 address in brackets, like [::1]:8000")
    return value


def _dask_address(value: str) -> str:
    if value and _DASK_ADDRESS.fullmatch(value) is None:
        raise ValueError("must be the address of a Dask scheduler, like tcp://scheduler:8786")
    return value


def _registry(value: str) -> str:
    if value in ("manager", "memory"):
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("must be manager, memory, or postgresql://USER@HOST/DATABASE")
    given = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if parts.password is not None or "password" in given:
        raise ValueError(
            "must not hold the password, which lists of processes would show: name a file with it "
            "in AFTERWARDS_REGISTRY_PASSWORD_FILE, or use PGPASSFILE"
        )
    return value


def _mode(value: str) -> str:
    if _MODE.fullmatch(value) is None:
        raise ValueError("must be three octal digits, like 0660")
    return value


def _directory(value: Path) -> Path:
    return value.expanduser()


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _comma_separated(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            problem = "must be addresses or networks like 10.0.0.0/8, separated by commas"
            raise ValueError(problem) from None
    return value


def _hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    for host in value:
        if host != "*" and not _HOST.fullmatch(host):
            raise ValueError(
                "must be names like tasks.example.org, without scheme and port, separated by "
                "commas, or *"
            )
    return value


def _host_patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(host_pattern, value))


def _proxy_address(value: SecretStr) -> SecretStr:
    address = value.get_secret_value()
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in ("http", "https") and parts.hostname and parts.port
    except ValueError:
        is_one = False
    if not is_one or not _WEB_ADDRESS.fullmatch(address):
        raise ValueError("must be an address with a port, like http://proxy:3128")
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        scheme, _, host = origin.partition("://")
        if origin != "*" and (scheme not in ("http", "https") or not host or "/" in host):
            raise ValueError("must be origins like https://example.org, separated by commas, or *")
    # Browsers send them so, and they are compared as they are.
    return tuple(origin.lower() for origin in value)


def _members(value: tuple[str, ...]) -> tuple[str, ...]:
    # An empty variable is not set.
    if value == ("none",):
        return ()
    for name in value:
        if not _MEMBER.fullmatch(name):
            raise ValueError("must be names of letters, digits, '_' and '-', separated by commas")
    return value


def _type_names(value: Any) -> Any:
    names = _comma_separated(value)
    # An empty variable is not set.
    return () if names == ("none",) else tuple(dict.fromkeys(names))


def _keys(value: SecretStr) -> SecretStr:
    EncryptionKeys(value.get_secret_value())
    return value


def _smtp_url(value: SecretStr) -> SecretStr:
    SmtpServer.of_url(value.get_secret_value())
    return value


def _sender(value: str) -> str:
    if value:
        sender_of(value)
    return value


def _line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be one line of text")
    return value


def secrets_of(text: str) -> tuple[str, ...]:
    """The secrets of webhooks in a text that separates them by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _webhook_secrets(value: SecretStr) -> SecretStr:
    for secret in secrets_of(value.get_secret_value()):
        key_of(secret)
    return value


def _root_path(value: str) -> str:
    path = value.rstrip("/")
    if not _ROOT_PATH.fullmatch(path):
        raise ValueError("must be a path like /tasks-service")
    return path


def _web_address(value: str) -> str:
    if value and not _WEB_ADDRESS.fullmatch(value):
        raise ValueError("must be an address like http://collector:4318")
    return value


def _trace_link(value: str) -> str:
    if value and not ("{trace_id}" in value and _WEB_ADDRESS.fullmatch(value)):
        raise ValueError("must be an address with {trace_id}, like https://example.org/{trace_id}")
    return value


Address = Annotated[str, AfterValidator(_address)]
FileMode = Annotated[str, AfterValidator(_mode)]
Directory = Annotated[Path, AfterValidator(_directory)]
Origins = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_comma_separated), AfterValidator(_origins)
]
Hosts = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_comma_separated), AfterValidator(_hosts)
]
HostPatterns = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_comma_separated), AfterValidator(_host_patterns)
]
Ports = Annotated[
    tuple[Annotated[int, Field(ge=1, le=65_535)], ...], NoDecode, BeforeValidator(_comma_separated)
]
ProxyAddress = Annotated[SecretStr, AfterValidator(_proxy_address)]
Networks = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_comma_separated), AfterValidator(_networks)
]
Members = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_comma_separated), AfterValidator(_members)
]
BuiltinTypes = Annotated[
    tuple[Literal["notification", "report", "file", "email", "http"], ...],
    NoDecode,
    BeforeValidator(_type_names),
]
WebhookSecrets = Annotated[SecretStr, AfterValidator(_webhook_secrets)]
Keys = Annotated[SecretStr, AfterValidator(_keys)]
SmtpUrl = Annotated[SecretStr, AfterValidator(_smtp_url)]
Sender = Annotated[str, AfterValidator(_sender)]
Line = Annotated[str, AfterValidator(_line)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
Count = Annotated[int, Field(ge=1)]
DelaySeconds = Annotated[float, Field(ge=0, le=DAY, allow_inf_nan=False)]
RootPath = Annotated[str, AfterValidator(_root_path)]
DaskAddress = Annotated[str, AfterValidator(_dask_address)]
RegistryAddress = Annotated[str, AfterValidator(_registry)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
TraceLink = Annotated[str, AfterValidator(_trace_link)]
LowerCase = BeforeValidator(_lower)
