"""The traceback of what a task's function has raised, as text for its author."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

from afterwards_executors.base import describe

MOST_BYTES: Final = 16 * 1024

_HEAD_BYTES: Final = 4 * 1024
_ROOM_FOR_THE_GAP: Final = 64

_OURS: Final = (
    "afterwards.execution.",
    "afterwards_executors.",
    "asyncio.",
    "concurrent.futures.",
)
"""Modules whose frames lead from an executor to the task's function."""


def traceback_of(error: BaseException) -> bytes | None:
    """The traceback from the task's function on, with causes and the members of groups.

    It has source lines and messages, and no values of variables. It is UTF-8 of at most
    `MOST_BYTES`; of a longer one the beginning and the end.

    Returns:
        None if the error was not raised in the function, or on its way there.
    """
    first = _first_of_the_task(error.__traceback__)
    if first is None:
        return None
    try:
        found = traceback.TracebackException(type(error), error, first, compact=True)
        text = "".join(found.format())
    except Exception as problem:  # noqa: BLE001 - what is raised may be anybody's class
        text = f"(The traceback cannot be shown: {describe(problem)})\n"
    return _bounded(text.rstrip("\n"))


def _first_of_the_task(step: TracebackType | None) -> TracebackType | None:
    while step is not None:
        module = step.tb_frame.f_globals.get("__name__")
        if not (isinstance(module, str) and f"{module}.".startswith(_OURS)):
            return step
        step = step.tb_next
    return None


def _bounded(text: str) -> bytes:
    # Half a surrogate pair can neither be stored nor sent.
    raw = text.encode(errors="replace")
    if len(raw) <= MOST_BYTES:
        return raw
    head = raw[:_HEAD_BYTES]
    tail = raw[len(raw) - (MOST_BYTES - _HEAD_BYTES - _ROOM_FOR_THE_GAP) :]
    # At the ends of lines, unless those are far away.
    end, begin = head.rfind(b"\n"), tail.find(b"\n") + 1
    if end > len(head) // 2:
        head = head[:end]
    if begin < len(tail) // 2:
        tail = tail[begin:]
    first, last = head.decode(errors="ignore"), tail.decode(errors="ignore")
    return f"{first}\n… {len(raw) - len(head) - len(tail)} bytes are left out …\n{last}".encode()
