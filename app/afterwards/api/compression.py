"""gzip for clients that take it."""

from __future__ import annotations

import gzip
from typing import Final

from fastapi import Request

from afterwards.system.large_bodies import aside

VARY: Final = {"Vary": "Accept-Encoding"}
"""The bytes differ by that header, compressed or not."""
_LEAST_BYTES: Final = 1_400
"""The least size: a smaller answer fits in a packet as it is."""
_LEVEL: Final = 6
"""Series become a sixth or less, in 5 ns a byte."""


def takes_gzip(request: Request) -> bool:
    """True if the Accept-Encoding allows gzip (RFC 9110, 12.5.3)."""
    for choice in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = choice.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return not weight or weight.strip("0.") != ""
    return False


async def fitting(request: Request, content: bytes) -> tuple[bytes, dict[str, str]]:
    """The content as it is sent, and the headers that say so; beside the loop if it is large.

    The content may have no texts of users. A client that sends some, and sees how long the answers
    to another are, could guess the rest of them from how well they are compressed (BREACH).
    """
    if len(content) < _LEAST_BYTES or not takes_gzip(request):
        return content, VARY
    compressed = await aside(len(content), gzip.compress, content, _LEVEL, mtime=0)
    return compressed, {**VARY, "Content-Encoding": "gzip"}
