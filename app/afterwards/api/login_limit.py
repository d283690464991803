"""The limit of failed logins from one address. For one worker's event loop.

A secret of 256 bits is not guessed. The limit keeps those who try from filling the log.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

BURST: Final = 10
"""Failures at once."""
SECONDS_EACH: Final = 6.0
"""The time after which one more is allowed."""
MOST_ADDRESSES: Final = 10_000
"""Remembered ones; beyond, the one whose last failure is the longest ago is forgotten."""
_IPV6_NETWORK_BITS: Final = 64
"""The part of an IPv6 address that its holder does not choose (RFC 4291, 2.5.4)."""


class LoginLimit:
    """Token buckets of failed logins, by address. A full one takes no memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """The time at which each bucket is full again."""

    def wait_seconds(self, address: str | None) -> float:
        """The time until the address may try again; 0: it may now."""
        missing = self._full_at.get(_place(address), 0.0) - self._clock()
        return max(0.0, missing - (BURST - 1) * SECONDS_EACH)

    def failed(self, address: str | None) -> None:
        """Take a token for a failure."""
        place = _place(address)
        self._full_at[place] = max(self._full_at.get(place, 0.0), self._clock()) + SECONDS_EACH
        self._full_at.move_to_end(place)
        if len(self._full_at) > MOST_ADDRESSES:
            self._full_at.popitem(last=False)


def _place(address: str | None) -> str:
    """The holder of an address. A client on a Unix socket has none: those share one bucket."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return ""
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), _IPV6_NETWORK_BITS), strict=False))
