"""Sessions of browsers: a key is exchanged for a cookie, which scripts cannot read."""

from __future__ import annotations

import math
import secrets
import time
from asyncio import sleep
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from afterwards.access.key import Key, Session
from afterwards.access.principal import Principal
from afterwards.access.roles import Role
from afterwards.access.tokens import digest_of
from afterwards.api import schemas
from afterwards.api.asker import asker
from afterwards.api.authorise import Gate, described
from afterwards.api.browsers import is_of_own_page, is_of_stranger
from afterwards.api.cookies import NAME, sent, set_cookie
from afterwards.api.references import base_path
from afterwards.api.roles import needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.fields import header
from afterwards.api.schemas.sessions import Login, SessionDocument
from afterwards.api.times import shown_time
from afterwards.api.uncached import uncached
from afterwards.errors import (
    InvalidKey,
    KeyNotFound,
    KeyNotUsable,
    NotAllowed,
    NotAuthenticated,
    TokenInUrl,
)
from afterwards.logs import get_logger

if TYPE_CHECKING:
    from afterwards.api.login_limit import LoginLimit
    from afterwards.service.keys import KeyVerbs

log = get_logger(__name__)

router = new_router("Keys")

SESSION_SECONDS: Final = 12 * 3_600
KNOWN_SECONDS: Final = 2.0
"""The time within which all workers know a new session."""
_LOOKS: Final = 200

NO_KEYS_REQUIRED: Final = "No key is required here, so there is nothing to log in to"
NOT_OF_THIS_PAGE: Final = "Only a page of this very host may open or end a session"
_LIMITED: Final = "Too many logins from this address have failed; try again in {} s"

_SET: Final = {
    "Set-Cookie": header(
        "The session.", f"{NAME}=...; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"
    )
}


@router.get(
    "/session",
    summary="Read who one is",
    operation_id="readSession",
    response_model=SessionDocument,
    response_description="The key that was shown, if there was a valid one",
    responses=schemas.answers(401, 503),
)
@needs(Role.PUBLIC)
async def read_session(request: Request) -> Response:
    """Read the name and the rights of the key that the request shows, itself or by a session.

    Without a valid key the answer says whether one is required. No token is in it.
    """
    gate = _gate(request)
    principal = None
    try:
        principal = gate.sender(request.scope)
    except TokenInUrl:
        raise
    except NotAuthenticated:
        pass
    key = None if principal is None else principal.key
    session = None if principal is None else principal.session
    return uncached(_document(gate, key, session))


@router.post(
    "/session",
    summary="Log in",
    operation_id="openSession",
    status_code=201,
    response_model=SessionDocument,
    response_description="Logged in; the cookie is the session",
    responses=schemas.answers(
        401,
        409,
        415,
        422,
        429,
        503,
        headers_of={201: _SET},
        said={
            401: (
                "There is no such valid key; which part is wrong is not told.",
                str(InvalidKey()),
            ),
            409: ("No key is required.", NO_KEYS_REQUIRED),
            422: ("The body is not valid.", "#/token: Field required"),
            429: ("Ten logins from this address have failed.", _LIMITED.format(6)),
        },
    ),
)
@needs(Role.PUBLIC)
async def open_session(login: Login, request: Request) -> Response:
    """Exchange the token of a key for a cookie that lasts 12 hours, and no longer than the key.

    The browser may then do what the key may, from pages of this host. Every login opens a session
    of its own.
    """
    if is_of_stranger(request.scope):
        raise NotAllowed(NOT_OF_THIS_PAGE)
    gate = _gate(request)
    if gate.is_open:
        raise HTTPException(409, NO_KEYS_REQUIRED)
    key = _key_of(login, request)
    request.scope["principal"] = principal = Principal(key)
    if key.role is None:
        raise NotAllowed(f"The dashboard needs the role viewer; {described(principal)}")
    now, cookie = time.time(), secrets.token_urlsafe(32)
    ends_at = min(now + SESSION_SECONDS, key.expires_at or math.inf)
    session = Session(
        digest=digest_of(cookie.encode()), key_id=key.id, opened_at=now, ends_at=ends_at
    )
    try:
        await _keys(request).open_session(session, asker(request))
    except (KeyNotFound, KeyNotUsable):
        raise InvalidKey from None
    await _until_known(gate, session.digest)
    return uncached(
        _document(gate, key, session), 201, _cookie(request, cookie, math.ceil(ends_at - now))
    )


@router.delete(
    "/session",
    summary="Log out",
    operation_id="endSession",
    status_code=204,
    response_description="Logged out",
    responses=schemas.answers(503, headers_of={204: _SET}),
)
@needs(Role.PUBLIC)
async def end_session(request: Request) -> Response:
    """End the session of the cookie, its streams included. The key stays valid."""
    cookie = sent(request.scope)
    if cookie is not None and not is_of_own_page(request.scope):
        raise NotAllowed(NOT_OF_THIS_PAGE)
    gate = _gate(request)
    session = None if cookie is None else gate.living(digest_of(cookie))
    if session is not None:
        request.scope["principal"] = gate.sender(request.scope)
        await _keys(request).end_session(session.digest, asker(request))
    return Response(status_code=204, headers=_cookie(request, "", 0))


def _key_of(login: Login, request: Request) -> Key:
    """The key whose token was sent. Raises `InvalidKey`, and refuses who has failed often."""
    limit: LoginLimit = request.app.state.login_limit
    address = request.client.host if request.client else None
    wait = math.ceil(limit.wait_seconds(address))
    if wait:
        raise HTTPException(429, _LIMITED.format(wait), {"Retry-After": str(wait)})
    key = _gate(request).bearer(login.token.encode())
    if key is None:
        limit.failed(address)
        log.warning("a login has failed", address=address)
        raise InvalidKey
    return key


async def _until_known(gate: Gate, digest: bytes) -> None:
    """Wait until this worker knows the session. The others learn of it at the same time."""
    for _ in range(_LOOKS):
        if gate.living(digest) is not None:
            return
        await sleep(KNOWN_SECONDS / _LOOKS)


def _gate(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


def _keys(request: Request) -> KeyVerbs:
    keys: KeyVerbs = request.app.state.service.keys
    return keys


def _cookie(request: Request, value: str, seconds: int) -> dict[str, str]:
    return {"Set-Cookie": set_cookie(request.scope, value, seconds, base_path(request))}


def _document(gate: Gate, key: Key | None, session: Session | None) -> dict[str, Any]:
    return {
        "keys_required": not gate.is_open,
        "key": None if key is None else _own(key),
        "ends_at": None if session is None else shown_time(session.ends_at),
    }


def _own(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "grants": sorted(key.grants),
        "types": None if key.types is None else sorted(key.types),
        "labels": None if key.labels is None else dict(key.labels),
        "payloads": key.payloads,
        "expires_at": None if key.expires_at is None else shown_time(key.expires_at),
    }
