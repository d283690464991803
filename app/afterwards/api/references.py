"""References in the API's answers, for clients that may see it under a prefix.

A proxy may serve the API under a path of its own and take that off. What an answer names by an
absolute path would then lead past the prefix, so headers and pages have references that are
relative to the request's own URL: a client resolves them against that (RFC 9110, 10.2.2; RFC 8288,
3.1). Where there is nothing to be relative to, the setting `root_path` says the prefix.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope


def reference(scope: Scope, path: str) -> str:
    """A path of the API, as seen from the request's URL (RFC 3986, 4.2)."""
    # Not decoded: a slash that was sent as %2F is none to whoever resolves this.
    own: bytes = scope.get("raw_path") or scope["path"].encode()
    prefix = scope.get("root_path")
    if prefix:
        own = own.removeprefix(prefix.encode())
    return "../" * (own.count(b"/") - 1) + path[1:]


def base_path(request: Request) -> str:
    """The prefix that clients see the API under, without a slash at its end; most often none."""
    known: str = request.scope.get("root_path") or request.app.state.root_path
    return known.rstrip("/")
