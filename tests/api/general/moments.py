"""The longest that the event loop may be kept, on a machine as slow as this one is just now."""

from __future__ import annotations

import json
import time
from typing import Final

MOMENT_SECONDS: Final = 0.05
"""The longest that anybody may keep others waiting, in CPU time."""

_WORK: Final = "[" + ",".join(['{"a":1}'] * 100_000) + "]"
_WORK_SECONDS: Final = 0.02
"""For reading it, on an idle core of a server of 2024."""
_TRIES: Final = 3


def moment_seconds() -> float:
    """`MOMENT_SECONDS`, and more where the same work costs more CPU time.

    It does on a slower machine, and beside processes that take a part of its caches.
    """
    best = 1e9
    for _ in range(_TRIES):
        started = time.thread_time()
        json.loads(_WORK)
        best = min(best, time.thread_time() - started)
    return MOMENT_SECONDS * max(1.0, best / _WORK_SECONDS)
