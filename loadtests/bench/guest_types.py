"""Task types as users write them, which do nothing: what their attempts cost besides their work."""

from __future__ import annotations

from pydantic import BaseModel

from afterwards import TaskContext, TaskType


class Message(BaseModel):
    """The notification's payload, so that the same is validated."""

    email: str
    message: str


async def nothing_async(payload: Message, context: TaskContext) -> dict[str, str]:
    """For hosts with an event loop."""
    del payload, context
    return {}


def nothing(payload: Message, context: TaskContext) -> dict[str, str]:
    """For the others."""
    del payload, context
    return {}


TYPES = [
    TaskType("guest-async", Message, nothing_async),
    TaskType("guest-thread", Message, nothing, executor="thread"),
    TaskType("guest-process", Message, nothing, executor="process"),
]
ASYNC, THREAD, PROCESS = TYPES
