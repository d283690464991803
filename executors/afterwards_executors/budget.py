"""The budget of a host's output: a burst, and so much a second from then on."""

from __future__ import annotations

from time import monotonic
from typing import Final

BURST_BYTES: Final = 1024 * 1024
BYTES_A_SECOND: Final = 256 * 1024


class Budget:
    """The output that may be passed on now. Output beyond it is dropped and counted."""

    def __init__(self) -> None:
        self._left = float(BURST_BYTES)
        self._at = monotonic()
        self._dropped = 0

    def take(self, size: int) -> bool:
        """True if a line of `size` bytes may be passed on; it then counts."""
        now = monotonic()
        self._left = min(BURST_BYTES, self._left + (now - self._at) * BYTES_A_SECOND)
        self._at = now
        if size > self._left:
            self._dropped += 1
            return False
        self._left -= size
        return True

    def gap(self) -> str | None:
        """The words on dropped lines for the next line; None: nothing was dropped."""
        dropped, self._dropped = self._dropped, 0
        return (
            f"{dropped} lines before this one were dropped: too many at once" if dropped else None
        )
