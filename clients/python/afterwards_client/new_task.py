"""A task that is to be submitted. What is not said of it is left to the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from afterwards_client.times import seconds_of


@dataclass(frozen=True)
class Callback:
    """A URL that is told of the end of one task."""

    url: str = field(repr=False)
    events: Sequence[str] | None = None
    """The ends that it is told of: `success`, `failed`, `cancelled`; None: all."""
    secret: str | None = field(default=None, repr=False)
    """Signs the notice: `whsec_…`; None: those of the service's settings do."""

    def body(self) -> dict[str, Any]:
        """As JSON; what is not said is left to the service."""
        members = {
            "url": self.url,
            "events": None if self.events is None else [str(one) for one in self.events],
            "secret": self.secret,
        }
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True)
class NewTask:
    """A task to be submitted with others; the same as the arguments of `submit`."""

    type: str
    payload: Mapping[str, Any] | None = None
    delay: float | timedelta | None = None
    """From now, in seconds unless it says otherwise; or else `run_at`."""
    run_at: datetime | None = None
    priority: int | None = None
    """0 to 9, higher sooner."""
    max_attempts: int | None = None
    timeout: float | timedelta | None = None
    """For one attempt."""
    deadline: datetime | None = None
    labels: Mapping[str, str] | None = None
    """Up to 8 pairs to find it by; keys and values have 1 to 64 characters."""
    concurrency_key: str | None = None
    """Only as many attempts at tasks of its type with this key run at once as the type allows."""
    unique_key: str | None = None
    """At most one unfinished task of the same owner has it."""
    on_conflict: Literal["existing", "reject", "replace"] | None = None
    """The fate of this task if another one has its unique key. Of tasks that are submitted together
    only `reject` is taken."""
    callback: Callback | None = None
    """A URL that is told of its end."""

    def body(self) -> dict[str, Any]:
        """As JSON; what is not said is left to the service."""
        members = {
            "type": self.type,
            "payload": self.payload,
            "delay_seconds": seconds_of(self.delay),
            "run_at": self.run_at and self.run_at.isoformat(),
            "priority": self.priority,
            "max_attempts": self.max_attempts,
            "timeout_seconds": seconds_of(self.timeout),
            "deadline": self.deadline and self.deadline.isoformat(),
            "labels": self.labels and dict(self.labels),
            "concurrency_key": self.concurrency_key,
            "unique_key": self.unique_key,
            "on_conflict": self.on_conflict,
            "callback": self.callback and self.callback.body(),
        }
        return {name: value for name, value in members.items() if value is not None}
