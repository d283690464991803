"""Guards against the web pages of strangers.

A browser sends the requests of any page to any address it can reach, loopback included. Three
things tell such a request from a user's own:

- its `Host` is a name that its page made lead here (DNS rebinding);
- its `Origin` is the page's (Fetch, 3.1); a request that is safe by its method need not have one;
- `Sec-Fetch-Site` says `cross-site` (Fetch Metadata), also of what needs no CORS.

Programs send neither of the last two, and a `Host` that is an address or a name of the service.

Where a key is required, any `Host` will do unless the service's names are set: the page of a
stranger has no key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from afterwards.api.problems import Problem

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1), as far as there are routes for them."""

ANY: Final = "*"
_LOOKED_AT: Final = frozenset(
    {b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"}
)
_SAY_WHOSE: Final = frozenset({b"origin", b"sec-fetch-site"})
_LOCALHOST: Final = "localhost"
_HOSTS_REMEMBERED: Final = 1_000
_LONGEST_HOST: Final = 300
"""In bytes; a name has at most 253 (RFC 1035, 2.3.4), and a port five."""


class Browsers:
    """Refuses what a page of a stranger makes a browser send.

    Args:
        hosts: names of this service, besides addresses and localhost; `*` for any.
        origins: pages of these may do everything (CORS); `*` for all.
        takes_any_host: tells whether every name will do just now; None: never.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Sequence[str],
        origins: Sequence[str],
        takes_any_host: Callable[[], bool] | None = None,
    ) -> None:
        self._app = app
        self._hosts = frozenset(_name(host) for host in (*hosts, _LOCALHOST))
        self._takes_every_host = ANY in hosts
        self._takes_any_host = takes_any_host
        self._origins = frozenset(origin.encode() for origin in origins)
        self._takes_any_origin = ANY in origins
        self._known: set[bytes] = set()
        """Values of Host that are ours: to look at one costs ten times a lookup."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        said = _said(scope)
        host, origin, site = said.get(b"host"), said.get(b"origin"), said.get(b"sec-fetch-site")
        if host is not None and not self._is_ours(host):
            return _misdirected(host)
        if (origin is None and site is None) or self._is_allowed(origin):
            return None
        is_safe = scope["method"] in SAFE_METHODS
        if origin is not None and not is_safe and not _is_same(origin, host):
            return _foreign(origin)
        if site == b"cross-site" and not (is_safe and _is_visit(said)):
            return _foreign(origin)
        return None

    def _is_ours(self, host: bytes) -> bool:
        if host in self._known or self._takes_every_host:
            return True
        if self._takes_any_host is not None and self._takes_any_host():
            return True
        if len(host) > _LONGEST_HOST:
            return False
        is_ours = _is_address(host) or _name_of(host) in self._hosts
        if is_ours and len(self._known) < _HOSTS_REMEMBERED:
            self._known.add(host)
        return is_ours

    def _is_allowed(self, origin: bytes | None) -> bool:
        return origin is not None and (self._takes_any_origin or origin in self._origins)


def is_of_stranger(scope: Scope) -> bool:
    """True if a browser says that another page than one of this host has sent a request.

    Unlike `Browsers`, this counts pages that CORS allows, and those of the same site, as others: a
    session's cookie goes to all ports of a host, and `SameSite` lets its subdomains send it.
    """
    said = _said(scope)
    origin, site = said.get(b"origin"), said.get(b"sec-fetch-site", b"none")
    if origin is not None and not _is_same(origin, said.get(b"host")):
        return True
    is_visit = scope["method"] in SAFE_METHODS and _is_visit(said)
    return site not in (b"same-origin", b"none") and not is_visit


def is_of_own_page(scope: Scope) -> bool:
    """True if a browser says that a page of this host, or the user alone, has sent a request.

    A request that changes something has to say so. All browsers say it of one (Fetch, 3.1).
    """
    if is_of_stranger(scope):
        return False
    return scope["method"] in SAFE_METHODS or not _said(scope).keys().isdisjoint(_SAY_WHOSE)


def _said(scope: Scope) -> dict[bytes, bytes]:
    return {name: value for name, value in scope["headers"] if name in _LOOKED_AT}


def _is_visit(said: Mapping[bytes, bytes]) -> bool:
    """True for a link or a bookmark: it shows what it leads to to the user only.

    A frame does so as well, but any page can hold any number of them.
    """
    return (
        said.get(b"sec-fetch-mode") == b"navigate"
        and said.get(b"sec-fetch-dest", b"document") == b"document"
    )


def _name(text: str) -> str:
    return text.lower().rstrip(".")


def _name_of(host: bytes) -> str:
    """A Host's name, without its port."""
    text = host.decode("latin-1")
    name, colon, port = text.rpartition(":")
    return _name(name if colon and port.isdecimal() else text)


def _is_address(host: bytes) -> bool:
    """True if a Host is an IP address, which no page can make lead elsewhere."""
    name = _name_of(host)
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: bytes) -> bool:
    """True if a Host leads to the machine that the browser runs on."""
    name = _name_of(host)
    if name == _LOCALHOST:
        return True
    return _is_address(host) and ipaddress.ip_address(name.strip("[]")).is_loopback


def _is_same(origin: bytes, host: bytes | None) -> bool:
    """True if a page is of this very host and port; the scheme may be a proxy's."""
    scheme, _, place = origin.lower().partition(b"://")
    if not place or host is None:
        return False
    default = {b"http": b":80", b"https": b":443"}.get(scheme, b"")
    return place.removesuffix(default) == host.lower().removesuffix(default)


def _misdirected(host: bytes) -> Problem:
    shown = _name_of(host)[:100]
    return Problem(
        421,
        f"This service is not known as {shown!r}; if it is, add the name to "
        "AFTERWARDS_ALLOWED_HOSTS",
    )


def _foreign(origin: bytes | None) -> Problem:
    whose = "another site" if origin is None else repr(origin.decode("latin-1")[:100])
    return Problem(
        403,
        f"A page of {whose} may not do this; if it should, add its origin to "
        "AFTERWARDS_CORS_ORIGINS",
    )
