"""Functions that do next to nothing, in a module of their own: spawned processes import it."""

from __future__ import annotations

import os

from afterwards_executors.base import End, Outcome


def no_op() -> Outcome:
    """For threads and processes; the outcome says which process it was."""
    return Outcome(End.SUCCEEDED, value=b"%d" % os.getpid())


async def no_op_async() -> Outcome:
    """For event loops."""
    return no_op()
