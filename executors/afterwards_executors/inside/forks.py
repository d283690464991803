"""The end of a fork that a coroutine makes by itself, once that coroutine gives way.

The fork has the whole event loop in it: going on, it would run the other calls once more. So it
ends when the step is over in which it was made. A fork that executes a program, or that ends by
itself, as those of multiprocessing do, never comes to that.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType
from typing import Any, Final

_NEVER_COME_BACK: Final = "multiprocessing.popen_fork"
"""Its forks end inside of it. They are not to be slowed down."""


def end_with_this_step(runs_the_loop: CodeType) -> None:
    """In the fork: have it end when it comes back to the loop.

    Args:
        runs_the_loop: of the function that does.
    """
    step: FrameType | None = None
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - documented
    while frame is not None and frame.f_code is not runs_the_loop:
        module = frame.f_globals.get("__name__", "")
        if module == _NEVER_COME_BACK:
            return
        if not module.startswith("asyncio."):
            step = frame
        frame = frame.f_back

    def end(frame: FrameType, event: str, argument: Any) -> None:
        del argument
        # To the interpreter, a coroutine that gives way returns.
        if frame is step and event == "return":
            os._exit(0)

    # The one hook that every kind of event loop passes by.
    sys.setprofile(end)
