"""Calls as requests of httpx, and what no request can carry. Nothing here does I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from afterwards_client.calls import BROKEN, Call
from afterwards_client.errors import InvalidArgument, UnexpectedAnswer

_HEADER_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(rb"([!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
"""RFC 9110, 5.1 and 5.5."""


def request_of(
    call: Call[Any],
    build: Callable[..., httpx.Request],
    base_url: str,
    headers: httpx.Headers,
    usual: httpx.Timeout,
) -> httpx.Request:
    """The request of a call.

    Args:
        build: `build_request` of the httpx client that will send it.
        headers: for every request.
        usual: the time limits of a call that is answered at once.

    Raises:
        InvalidArgument: it has something that cannot be sent.
    """
    named = httpx.Headers(headers)
    named.update(sendable(call.headers))
    content = None
    if call.body is not None:
        content = _json(call.body)
        named["Content-Type"] = "application/json"
    try:
        return build(
            call.method,
            base_url + call.path,
            params=call.params,
            content=content,
            headers=named,
            timeout=call.timeout(usual),
        )
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InvalidArgument(f"URL of {call.method} {call.path[:40]}", str(error)) from error


@contextmanager
def unbroken(request: httpx.Request) -> Iterator[None]:
    """Take an answer to this request that httpx cannot read for one of something else.

    Raises:
        UnexpectedAnswer: in the place of httpx's error.
    """
    try:
        yield
    except BROKEN as error:
        raise UnexpectedAnswer(str(request.url), f"broken: {error}") from error


def sendable(headers: Mapping[str, str] | None) -> httpx.Headers:
    """The headers, if they can be sent. A value is not repeated: it may be a secret.

    Raises:
        InvalidArgument: they cannot.
    """
    for name, value in (headers or {}).items():
        if not is_sendable(value, name):
            problem = "a name is a token, and a value printable ASCII without spaces around it"
            raise InvalidArgument(f"header {name!r}", problem)
    return httpx.Headers(headers)


def is_sendable(value: str, name: str = "X") -> bool:
    """True if a header can have this value, and this name."""
    try:
        ((raw_name, raw_value),) = httpx.Headers({name: value}).raw
    except UnicodeError:
        return False
    return bool(_HEADER_NAME.fullmatch(raw_name) and _HEADER_VALUE.fullmatch(raw_value))


def _json(body: Any) -> bytes:
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument("request's body", f"it is no JSON: {error}") from error
