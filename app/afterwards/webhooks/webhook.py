"""Webhooks and callbacks: the receivers of notices that a task has finished."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from afterwards.lifecycle import FINAL_STATES, TaskState

DELIVERY: Final = "webhook"
"""The task type of deliveries. No notice is ever sent of one."""

MOST_WEBHOOKS: Final = 100
MOST_URL_CHARACTERS: Final = 2_000
MOST_TYPES: Final = 100
"""In one webhook."""
MOST_SECRETS: Final = 5
"""The secrets of one webhook. The one that ends first makes room for a new one."""

DISABLED_BY_HAND: Final = "disabled by hand"


class Secret(NamedTuple):
    """A secret that notices are signed with, as Standard Webhooks has it: `whsec_` and base64."""

    value: str
    ends_at: float | None = None
    """The end of its overlap with its successor; None: it is the latest."""

    def __repr__(self) -> str:
        return f"Secret(..., ends_at={self.ends_at})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A receiver that is told of all tasks that fit. Times are in seconds since the epoch."""

    name: str
    url: str = field(repr=False)
    """It may contain what gives access, such as a token."""
    secrets: tuple[Secret, ...]
    """The latest first; at least one."""
    events: frozenset[TaskState] = FINAL_STATES
    """The final states that it is told of."""
    types: frozenset[str] = frozenset()
    """The types of the tasks; empty: any type."""
    labels: tuple[str, ...] = ()
    """The tasks have all of these: a key, or `key=value`."""
    id: str = ""
    """Given by the registry: a webhook of the same name that comes later is another one."""
    created_at: float = 0.0
    failing_since: float | None = None
    """The first failed attempt since the last success; None: none has failed since."""
    disabled_since: float | None = None
    """None: it is enabled."""
    disabled_because: str | None = None
    """The reason, for people."""

    @property
    def is_enabled(self) -> bool:
        """True if it is told of tasks that finish."""
        return self.disabled_since is None

    def valid_secrets(self, now: float) -> tuple[str, ...]:
        """The secrets to sign with, the latest first."""
        return tuple(one.value for one in self.secrets if one.ends_at is None or now < one.ends_at)


class Callback(NamedTuple):
    """The receiver that one submission has named for its own end."""

    url: str
    events: frozenset[TaskState] = FINAL_STATES
    secret: str | None = None
    """None: the service's own secrets sign, which the workers have from their settings."""
    with_error: bool = True
    """False: its submitter does not see errors, so it is not told of them."""

    def __repr__(self) -> str:
        return f"Callback(..., events={sorted(self.events)})"

    def encode(self) -> str:
        """The callback as `Task.callback` has it: a JSON object."""
        members = {
            "url": self.url,
            "events": sorted(self.events),
            "secret": self.secret,
            "with_error": self.with_error,
        }
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Callback:
        """The inverse of `encode`."""
        members = json.loads(text)
        events = frozenset(map(TaskState, members["events"]))
        return cls(members["url"], events, members["secret"], members["with_error"])


class Target(NamedTuple):
    """The receiver of a delivery, as it is when an attempt at it is claimed."""

    url: str
    secrets: tuple[str, ...] = ()
    """To sign with all of these; the latest first. Empty: those of the worker's settings."""

    def __repr__(self) -> str:
        return "Target(...)"


def takes(webhook: Webhook, state: TaskState, type_name: str, pairs: Iterable[str]) -> bool:
    """True if a webhook is to be told of a task that has ended so.

    Args:
        pairs: as `afterwards.registry.protocol.filters.pairs_of` gives them.
    """
    return (
        webhook.is_enabled
        and state in webhook.events
        and (not webhook.types or type_name in webhook.types)
        and (not webhook.labels or set(pairs).issuperset(webhook.labels))
    )
