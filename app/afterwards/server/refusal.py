"""The answer to what is refused before there is a request."""

from __future__ import annotations

import json
from http import HTTPStatus


def problem(status: HTTPStatus, detail: str, request_id: str | None) -> bytes:
    """A whole answer, as `afterwards.api.problems` gives them."""
    own = b"" if request_id is None else b"X-Request-ID: %b\r\n" % request_id.encode()
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        own += b"Retry-After: 1\r\n"
    document = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    body = json.dumps(document).encode()
    return (
        b"HTTP/1.1 %d %b\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
        b"%bConnection: close\r\n\r\n%b" % (status, status.phrase.encode(), len(body), own, body)
    )
