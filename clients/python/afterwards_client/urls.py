"""URLs: which can be reached at all, and how they are shown. Nothing here does I/O."""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SCHEMES: Final = ("http", "https")
_LAST_PORT: Final = 65535
_NAME: Final = re.compile(rb"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.IGNORECASE)
"""RFC 1035, 2.3.1 and 2.3.4, and the underscores that there are all the same."""

_USER_INFORMATION: Final = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", re.IGNORECASE)
"""A URL up to its host (RFC 3986, 3.2.1)."""

_BEFORE_LAST_AT: Final = re.compile(r"^([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)


def of_service(url: str) -> tuple[str, httpx.Headers]:
    """A service's URL without its user and password, and the header that says them (RFC 7617).

    httpx logs the URLs of its requests. A header's value is not in the repr of `httpx.Headers`.

    Raises:
        httpx.InvalidURL: it is none. The message does not repeat it: it may have a password.
    """
    if problem := _problem(url):
        raise httpx.InvalidURL(f"The URL of the service {problem}")
    parts = urlsplit(url.rstrip("/"))
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return urlunsplit(parts), httpx.Headers()
    credentials = base64.b64encode(unquote_to_bytes(user)).decode()
    headers = httpx.Headers({"Authorization": f"Basic {credentials}"})
    return urlunsplit(parts._replace(netloc=host)), headers


def unreachable(url: httpx.URL) -> str | None:
    """The reason why its host and port cannot be reached; None if they may exist.

    The resolver and the socket would raise errors that httpx does not know.
    """
    if not url.raw_host:
        return "names no host"
    if not (is_host(url.raw_host) and _is_readable(url)):
        return "names a host that cannot exist"
    if url.port is not None and not 0 < url.port <= _LAST_PORT:
        return f"has a port that is not 1 to {_LAST_PORT}"
    return None


def is_host(name: bytes) -> bool:
    """True if it can be a name, in ASCII, or is an address as `httpx.URL` has it."""
    return b":" in name or _NAME.fullmatch(name) is not None


def address_of(host: str) -> Address | None:
    """The address that a host is, however it is spelt; None for a name.

    The resolver takes `127.1` and `2130706433` for 127.0.0.1, as `inet_aton` does, and
    `::ffff:127.0.0.1` is that address, too (RFC 4291, 2.5.5.2).
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _as_inet_aton_reads(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return _USER_INFORMATION.sub(r"\1", url)


def without_all_before_at(text: str) -> str:
    """The part of a wrong URL that may be shown: all before its last `@` may be a password."""
    return _BEFORE_LAST_AT.sub(r"\1", text)


def _problem(url: str) -> str | None:
    try:
        parsed = httpx.URL(url)
        urlsplit(url)
    except (httpx.InvalidURL, ValueError):
        return "is no URL"
    if parsed.scheme not in _SCHEMES:
        return "does not begin with http:// or https://"
    if "?" in url or "#" in url:
        return "has a query or a fragment, which paths cannot be added to"
    return unreachable(parsed)


def _is_readable(url: httpx.URL) -> bool:
    """True if httpx can decode a name that begins with `xn--` (RFC 5890, 2.3.2.1)."""
    try:
        return bool(url.host)
    except UnicodeError:
        return False


def _as_inet_aton_reads(host: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None
