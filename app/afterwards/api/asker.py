"""The sender of a request, as the log of activity remembers it."""

from __future__ import annotations

import structlog
from fastapi import Request

from afterwards.registry.protocol.activity import By


def asker(request: Request) -> By:
    """The sender of this request, which `afterwards.api.request_context` has given its id."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    # A client on a Unix socket has no address.
    address = request.client.host if request.client else None
    actor = request.scope["principal"].actor
    return By(actor=actor, request_id=request_id, address=address)
