"""Rests of executor kinds, when something has run out that their calls cannot begin without."""

from __future__ import annotations

import threading
import time
from typing import Final

from afterwards.logs import get_logger

log = get_logger(__name__)

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 8.0

OVER_SECONDS: Final = 60.0
"""After so long without another, a shortage is a new one: it begins with the first pause, and is
logged."""


class Pauses:
    """Until when each kind rests. May be used from any thread.

    A shortage is mostly one of the whole process, and every attempt of it that is released would be
    claimed again at once; so the kind rests, for longer from time to time, up to `LONGEST_SECONDS`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._seconds: dict[str, float] = {}

    def begin(self, kind: str, reason: str) -> None:
        """An attempt of this kind could not begin; a kind that rests already rests no longer."""
        now = time.monotonic()
        with self._lock:
            until = self._until.get(kind)
            if until is not None and now < until:
                return
            is_new = until is None or now >= until + OVER_SECONDS
            seconds = FIRST_SECONDS if is_new else min(2 * self._seconds[kind], LONGEST_SECONDS)
            self._seconds[kind] = seconds
            self._until[kind] = now + seconds
        if is_new:
            log.warning(
                "something has run out; attempts are released and tried again, none is counted",
                executor=kind,
                reason=reason,
            )

    def is_resting(self, kind: str) -> bool:
        """True if no attempt of this kind is to be claimed now."""
        until = self._until.get(kind)
        return until is not None and time.monotonic() < until
