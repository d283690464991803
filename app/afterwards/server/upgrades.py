"""Requests that ask for another protocol, which a server may ignore (RFC 9110, 7.8).

The parser ends at their heads and leaves the rest to that protocol. So the head is parsed once
more, without what asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_ASKING: Final = frozenset({b"upgrade", b"http2-settings"})
"""Headers, and options of `Connection` that name them (RFC 7540, 3.2, for the second)."""


def without_upgrade(
    method: bytes, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """The head of a request that asks for nothing but an answer.

    Args:
        headers: with names in lower case.
    """
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    for name, value in headers:
        if name == b"connection":
            lines.append(b"%b: %b" % (name, _without_asking(value)))
        elif name not in _ASKING:
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])


def _without_asking(options: bytes) -> bytes:
    kept = (option.strip() for option in options.split(b","))
    return b", ".join(option for option in kept if option.lower() not in _ASKING)
