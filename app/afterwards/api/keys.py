"""Keys: who may do what."""

from __future__ import annotations

import time
from asyncio import sleep
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from afterwards.access.key import Key, Limits
from afterwards.access.roles import Grant
from afterwards.api import schemas
from afterwards.api.asker import asker
from afterwards.api.cursors import cursor_of, link_to_next, position_of
from afterwards.api.queries import require_once
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.keys import (
    EXAMPLE_KEY_ID,
    IssuedKeyDocument,
    KeyFilter,
    KeyId,
    KeyPage,
    NewKey,
    Rotation,
)
from afterwards.api.schemas.pages import page_answers
from afterwards.api.submission import service_of
from afterwards.api.times import shown_time
from afterwards.api.uncached import uncached
from afterwards.service.keys import IssuedKey

router = new_router("Keys")

FIRST_IS_LOCAL: Final = (
    "The first key is made on the machine of the service: `afterwards keys create NAME --role "
    "admin`, or AFTERWARDS_FIRST_KEY_FILE"
)
_UNKNOWN: Final = {404: ("No key has this id.", f"There is no key with the id '{EXAMPLE_KEY_ID}'")}


@router.get(
    "/keys",
    summary="List the keys",
    operation_id="listKeys",
    response_model=KeyPage,
    response_description="A page of keys",
    responses=page_answers("azN2OXgw", 500),
)
@needs(Role.ADMIN)
async def list_keys(query: Annotated[KeyFilter, Query()], request: Request) -> Response:
    """List keys, the newest first. Revoked and expired keys stay listed. No secret is shown."""
    require_once(request)
    found = await service_of(request).keys.all()
    first = 0
    if query.cursor is not None:
        last = position_of(query.cursor, str)
        first = next((n for n, key in enumerate(found, 1) if key.id == last), len(found))
    page, rest = found[first : first + query.limit], found[first + query.limit :]
    now, documents = time.time(), []
    for key in page:
        documents.append(_document(key, now))
        await sleep(0)
    cursor = cursor_of(page[-1].id) if rest else None
    headers = {}
    if cursor is not None:
        headers = link_to_next(f"limit={query.limit}&cursor={cursor}")
    return uncached({"keys": documents, "next": cursor}, headers=headers)


@router.post(
    "/keys",
    summary="Create a key",
    operation_id="createKey",
    status_code=201,
    response_model=IssuedKeyDocument,
    response_description="Created; the token is shown this once",
    responses=schemas.answers(
        409,
        415,
        422,
        503,
        said={
            409: ("The name is taken, or no key was ever made.", FIRST_IS_LOCAL),
            422: ("The body is not valid.", "#: send one of role and grants"),
        },
    ),
)
@needs(Role.ADMIN)
async def create_key(new: NewKey, request: Request) -> Response:
    """Create a key and show its token, which cannot be read again.

    The first key is not made here: until there is one, no key is needed for this.
    """
    keys = service_of(request).keys
    if not await keys.are_required():
        raise HTTPException(409, FIRST_IS_LOCAL)

    def make(key_id: str, digest: bytes) -> Key:
        return Key(
            id=key_id,
            name=new.name,
            principal=new.principal or new.name,
            role=None if new.role is None else Role(new.role),
            grants=frozenset(map(Grant, new.grants)),
            types=None if new.types is None else frozenset(new.types),
            labels=new.labels or None,
            payloads=new.payloads,
            limits=Limits(**new.limits.model_dump()),
            created_at=time.time(),
            expires_at=new.expires_at,
            digest=digest,
        )

    return _issued(await keys.create(make, asker(request)))


@router.post(
    "/keys/{key_id}/rotate",
    summary="Rotate a key",
    operation_id="rotateKey",
    status_code=201,
    response_model=IssuedKeyDocument,
    response_description="The new key; its token is shown this once",
    responses=schemas.answers(
        404,
        409,
        415,
        422,
        503,
        said={
            **_UNKNOWN,
            409: (
                "The key is expired, revoked or rotated.",
                f"The key {EXAMPLE_KEY_ID} is revoked; create a new one",
            ),
            422: (
                "The body is not valid.",
                "#/overlap_seconds: Input should be less than or equal to 2592000",
            ),
        },
    ),
)
@needs(Role.ADMIN)
async def rotate_key(key_id: KeyId, request: Request, rotation: Rotation | None = None) -> Response:
    """Make a second key with the same rights and the same principal, and show its token.

    The old key stays valid for `overlap_seconds`, one day unless the body says otherwise.
    """
    overlap = (rotation or Rotation()).overlap_seconds
    return _issued(await service_of(request).keys.rotate(key_id, overlap, asker(request)))


@router.delete(
    "/keys/{key_id}",
    summary="Revoke a key",
    operation_id="revokeKey",
    status_code=204,
    response_description="Revoked",
    responses=schemas.answers(404, 503, said=_UNKNOWN),
)
@needs(Role.ADMIN)
async def revoke_key(key_id: KeyId, request: Request) -> Response:
    """End a key for good, within two seconds in every worker. Its tasks stay."""
    await service_of(request).keys.revoke(key_id, asker(request))
    return Response(status_code=204)


def _issued(issued: IssuedKey) -> Response:
    return uncached({**_document(issued.key, time.time()), "token": issued.token}, 201)


def _document(key: Key, now: float) -> dict[str, Any]:
    state = "valid" if key.is_valid(now) else "expired" if key.revoked_at is None else "revoked"
    return {
        "id": key.id,
        "name": key.name,
        "principal": key.principal,
        "role": key.role,
        "grants": sorted(key.grants),
        "types": None if key.types is None else sorted(key.types),
        "labels": None if key.labels is None else dict(key.labels),
        "payloads": key.payloads,
        "limits": asdict(key.limits),
        "state": state,
        "created_at": shown_time(key.created_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "last_used_at": _time(key.last_used_at),
        "replaced_by": key.replaced_by,
    }


def _time(at: float | None) -> str | None:
    return None if at is None else shown_time(at)
