"""Conditions of requests (RFC 9110, 13)."""

from __future__ import annotations

import re

from fastapi import Request


def is_known(request: Request, etag: str) -> bool:
    """True if the client has this answer already (RFC 9110, 13.1.2)."""
    known = ",".join(request.headers.getlist("if-none-match"))
    # Weak ones count, too: what matters is that the content is the same.
    return known.strip() == "*" or etag in re.findall(r'"[^"]*"', known)
