"""Calls to the registry: requests that are carried out together, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from afterwards.registry.engine.turns import WorkItem
from afterwards.registry.protocol.answers import Answer, Claim, Reply
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.requests import Held, Request


class Open(Enum):
    """Stands for an answer that is not known yet."""

    AFTER_COMMIT = "after commit"
    """The request changes nothing that is written: it is answered when its group is committed."""


@dataclass(eq=False)
class Call(WorkItem):
    """One `exchange` on its way through a group."""

    worker: Worker | None
    connection: int
    requests: Sequence[Request]
    answers: list[Answer] = field(default_factory=list)
    """One for each request. The changes give theirs, the reads theirs once the group is committed;
    those that are a `Deferred` at the end are left to the bringer of the call."""
    claims: list[Claim] = field(default_factory=list)
    cancels: list[Held] = field(default_factory=list)
    keys: int | None = None
    """The version of the keys; None: it is not told, as to a caller that is no worker."""
    tell: Callable[[Reply], None] | None = None
    """Is given the reply as soon as the commit allows it, in the midst of the turn, and must not
    block; None: the bringer of the call waits for the end of the turn. What needs more than
    the commit is not told in this way."""

    def reply(self) -> Reply:
        """The answer to the call."""
        return Reply(self.answers, self.claims, self.cancels, self.keys)
