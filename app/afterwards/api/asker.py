"""The sender of a request, as the log of activity remembers it."""

from __future__ import annotations

import structlog
from fastapi import Request

from afterwards.access.principal import Principal
from afterwards.registry.protocol.activity import By


def asker(request: Request) -> By:
    """The sender of this request, which `afterwards.api.request_context` has given its id."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    # A client on a Unix socket has no address.
    address = request.client.host if request.client else None
    principal: Principal = request.scope["principal"]
    return By(principal.actor, request_id, address, key_id=principal.key_id)
