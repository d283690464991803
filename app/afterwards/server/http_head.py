"""Rules of HTTP for a request's head that the parser leaves to others (RFC 9112)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import httptools

_ORIGIN_FORM: Final = b"/"

Headers = list[tuple[bytes, bytes]]


def fault_of(headers: Sequence[tuple[bytes, bytes]], version: str) -> tuple[HTTPStatus, str] | None:
    """The fault of a head, and the status that says so; None: there is none."""
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            return (
                HTTPStatus.NOT_IMPLEMENTED,
                "The only transfer coding here is chunked; send Transfer-Encoding: chunked",
            )
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return HTTPStatus.BAD_REQUEST, f"Send one Host header (RFC 9112, 3.2); there are {hosts}"
    return None


def origin_form(target: bytes, headers: Headers) -> bytes:
    """A request's target as a path and a query.

    A target may be a whole URL, as proxies get it. Its host then counts, and `headers` are changed
    to say so (RFC 9112, 3.2.2).

    Raises:
        httptools.HttpParserInvalidURLError: it is no URL.
    """
    if target.startswith(_ORIGIN_FORM):
        return target
    url: Any = httptools.parse_url(target)
    if url.schema is None or url.host is None:
        return target
    host = url.host if url.port is None else b"%b:%d" % (url.host, url.port)
    headers[:] = [(b"host", host), *(header for header in headers if header[0] != b"host")]
    query = b"" if url.query is None else b"?" + url.query
    return (url.path or _ORIGIN_FORM) + query


def without_chunks(cycle: Any, app: Any) -> Any:
    """The application for a client that knows no chunks (HTTP/1.0).

    An answer of unknown length ends with the connection.

    Args:
        cycle: uvicorn's, of this request.
    """

    async def respond(scope: Any, receive: Any, send: Any) -> None:
        async def send_whole(message: Any) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message.get("headers", ())}
                if b"content-length" not in names:
                    cycle.chunked_encoding = False
                    cycle.expected_content_length = sys.maxsize
            elif not message.get("more_body") and cycle.expected_content_length > sys.maxsize // 2:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_whole)

    return respond
