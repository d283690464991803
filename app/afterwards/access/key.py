"""A key: who a token's bearer is, and what it may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from afterwards.access.roles import Grant, Role

LONGEST_NAME: Final = 64
"""In characters."""

MOST_KEYS: Final = 10_000
"""The keys of a service, revoked and expired ones included. Of these, those that ended first make
room for new keys."""

MOST_SESSIONS: Final = 10_000
"""The sessions of a service. The one that ends first makes room for a new one."""

MOST_SESSIONS_OF_A_KEY: Final = 100
"""The sessions of one key; likewise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a key's use, by all workers together. None: there is none."""

    requests_per_second: float | None = None
    burst: int | None = None
    """Requests at once, above the rate."""
    pending_tasks: int | None = None
    """Unfinished tasks."""
    pending_bytes: int | None = None
    """Payloads of unfinished tasks, in bytes."""
    streams: int | None = None
    """Streams of events at once."""
    waits: int | None = None
    """Requests with `?wait` at once."""


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key. Times are in seconds since the epoch."""

    id: str
    """Part of the token; no secret."""
    name: str
    """Unique among the valid keys, but for those that a rotation lets overlap."""
    principal: str
    """The owner of what is submitted with it. A rotation keeps it."""
    role: Role | None
    """None: it has `grants` only."""
    grants: frozenset[Grant] = frozenset()
    types: frozenset[str] | None = None
    """The task types that it reaches; None: all."""
    labels: Mapping[str, str] | None = None
    """Labels that each task it reaches has; None: any or none."""
    payloads: bool = False
    """True if it sees payloads, results, errors and what tasks print."""
    limits: Limits = NO_LIMITS
    created_at: float
    expires_at: float | None = None
    """None: never."""
    revoked_at: float | None = None
    """None: it is not."""
    last_used_at: float | None = None
    """To the minute. None: never, as far as is known."""
    replaced_by: str | None = None
    """The id of the key that a rotation made in its place."""
    digest: bytes = field(repr=False)
    """SHA-256 of the token's secret."""

    def is_valid(self, now: float) -> bool:
        """True until the key is revoked or has expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that has shown a key, and may do what the key may until `ends_at`."""

    digest: bytes = field(repr=False)
    """SHA-256 of the cookie; it finds the session."""
    key_id: str
    opened_at: float
    ends_at: float
