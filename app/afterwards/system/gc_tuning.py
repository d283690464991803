"""Python's collector, set for a process that runs long and makes many short-lived objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

YOUNG_OBJECTS: Final = 10_000
"""The number of containers that may be made, less those freed, before the young are looked through:
by default 700 or 2,000, which a busy worker makes in a few requests."""

GENERATIONS: Final = (20, 20)


def spare_the_loaded() -> None:
    """Look through what is loaded by now no more, and through the rest less often.

    To be called once everything is imported and made. Modules, models and routes are some hundred
    thousand objects; a full collection over them stops the process for 50 ms, several times a
    second under load (`docs/performance.md`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *GENERATIONS)


def share_the_loaded() -> None:
    """Leave what is loaded by now alone, here and in all processes that are forked from this one.

    Each of them would look through it once more, and writes to the memory that it looks through:
    that is theirs alone from then on. Nothing is collected first, as what that frees leaves holes
    that they fill, with the same effect.
    """
    gc.freeze()


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collections meanwhile, in the whole process: for short work that makes many objects.

    What it makes is alive, so that looking through it over and over frees nothing, and doubles the
    time that a parser takes. Several threads may be in it at once.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
