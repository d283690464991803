"""The cookie of a browser's session: read, set, cleared.

It stands for a key, and a browser sends it by itself. So it counts only where the browser also says
that a page of this host has sent the request (`browsers.is_of_own_page`).
"""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from afterwards.access.tokens import digest_of
from afterwards.api.browsers import is_loopback, is_of_own_page

NAME: Final = "afterwards_session"
_NAME: Final = NAME.encode()


def session_of(scope: Scope) -> bytes | None:
    """The digest of the session that a request shows; None: it shows none that counts."""
    found = sent(scope)
    return digest_of(found) if found is not None and is_of_own_page(scope) else None


def sent(scope: Scope) -> bytes | None:
    """The value of the cookie, for requests of any page; None: there is none.

    Of two, somebody else has set one, so neither counts.
    """
    values = [
        value.strip()
        for header, line in scope["headers"]
        if header == b"cookie"
        for name, _, value in (pair.partition(b"=") for pair in line.split(b";"))
        if name.strip() == _NAME
    ]
    return values[0] if len(values) == 1 else None


def set_cookie(scope: Scope, value: str, seconds: int, path: str) -> str:
    """A `Set-Cookie` that scripts cannot read and other sites cannot send (RFC 6265bis, 4.1.2).

    Args:
        seconds: how long a browser keeps it; 0: it forgets it.
        path: the prefix under which clients see the API.
    """
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    # Browsers take and send a secure cookie over HTTPS only, and loopback most often has none.
    secure = "" if host and is_loopback(host) else "; Secure"
    return (
        f"{NAME}={value}; Path={path or '/'}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    )
