"""Who sends a request: what is remembered of them with what they have done by hand."""

from __future__ import annotations

import structlog
from fastapi import Request

from afterwards.registry.protocol.activity import By


def asker(request: Request) -> By:
    """Whoever has sent this request, which `afterwards.api.request_context` has given its id."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    # On a Unix socket nobody has an address.
    address = request.client.host if request.client else None
    return By(request_id=request_id, address=address)
