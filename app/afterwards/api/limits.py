"""The limits of a key, held before a request's body is read: requests, streams and waits.

The header fields are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Final, Literal

from starlette.types import Scope

from afterwards.access.meters import Meter, capacity
from afterwards.errors import LimitReached

RETRY_SECONDS: Final = 1.0
"""The advice when to come back for a stream or a wait: the end of others is not known."""


def admit(meter: Meter, scope: Scope) -> None:
    """Count a request, and note its meter in its scope.

    Raises:
        LimitReached: the key has sent too many of late.
    """
    scope["meter"] = meter
    seconds = meter.take(time.monotonic())
    if seconds:
        rate = meter.limits.requests_per_second or 0.0
        raise LimitReached("requests_per_second", rate, rate, 1, seconds)


def header_fields(meter: Meter) -> list[tuple[bytes, bytes]]:
    """The header fields of an answer to a request that was counted; none without a rate."""
    rate = meter.limits.requests_per_second
    if rate is None:
        return []
    quota = capacity(meter.limits)
    left, whole = max(0, int(meter.level)), max(0, ceil(meter.seconds_until_full))
    return [
        (b"ratelimit-policy", b'"requests";q=%d;w=%d' % (quota, max(1, ceil(quota / rate)))),
        (b"ratelimit", b'"requests";r=%d;t=%d' % (left, whole)),
    ]


@contextmanager
def held(scope: Scope, what: Literal["streams", "waits"]) -> Iterator[None]:
    """Count a stream or a wait for as long as it lasts.

    Raises:
        LimitReached: the key has too many of them.
    """
    meter: Meter | None = scope.get("meter")
    if meter is None:
        yield
        return
    limit: int | None = getattr(meter.limits, what)
    used: int = getattr(meter, what) + getattr(meter, f"other_{what}")
    if limit is not None and used >= limit:
        raise LimitReached(what, limit, used, 1, RETRY_SECONDS)
    setattr(meter, what, getattr(meter, what) + 1)
    try:
        yield
    finally:
        setattr(meter, what, getattr(meter, what) - 1)
