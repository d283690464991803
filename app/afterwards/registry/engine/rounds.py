"""The rounds of a group: how much of it is carried out.

A group that cannot be written is taken back, and carried out again with less of it.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from afterwards.registry.protocol.key_requests import CreateKey, OpenSession, RotateKey
from afterwards.registry.protocol.requests import (
    ABOUT_THE_WORKER,
    Add,
    AddAll,
    Amend,
    DeclareSchedules,
    PutSchedule,
    Request,
    Retry,
    RunSchedule,
    SubmitChildren,
    Succeeded,
)
from afterwards.registry.protocol.webhook_requests import (
    PutWebhook,
    ReplayWebhook,
    RotateSecret,
    SendTest,
)

_NEEDS_ROOM: Final = frozenset(
    {
        *(Add, AddAll, SubmitChildren, Amend, PutSchedule, Retry, RunSchedule),
        *(DeclareSchedules, CreateKey, RotateKey, OpenSession),
        *(PutWebhook, RotateSecret, ReplayWebhook, SendTest),
    }
)


class Round(Enum):
    """The part of a group that is carried out; each is tried if the one before was not written."""

    WHOLE = "whole"
    """All of it."""
    WITHOUT_NEW_WORK = "without new work"
    """Reports and cancellations may fit on a disk where new tasks do not. What needs room is
    refused, schedules make no tasks, and retention deletes none."""
    UNWRITTEN = "unwritten"
    """Nothing is written. All that needs the journal is refused; what workers say of themselves is
    heard, nothing becomes due, and nothing is claimed."""

    def refuses(self, request: Request) -> bool:
        """True if this request, which is no read, is refused."""
        kind = type(request)
        if self is Round.WHOLE or kind in ABOUT_THE_WORKER:
            return False
        brings_tasks = isinstance(request, Succeeded) and bool(request.children)
        return self is Round.UNWRITTEN or brings_tasks or kind in _NEEDS_ROOM
