"""The parts of a worker that its client of the registry asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from afterwards.counts import WorkerCounts
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.requests import Held, TypeLimits, WorkerReport


class ClaimHolder(Protocol):
    """The owner of a worker's claims: the dispatcher. Called from any thread; nothing waits."""

    def slots(self) -> Mapping[str, int]:
        """Usable slots by executor kind."""

    def stuck(self) -> Mapping[str, int]:
        """Slots by executor kind that hold a call which goes on after its time."""

    def held(self) -> list[Held]:
        """Every claim whose report was not answered yet."""

    def take(self, claims: Sequence[Claim], awaited: frozenset[str]) -> None:
        """Be responsible for new claims.

        Those in `awaited` are started by their routes' background tasks, the others as soon as the
        answers that came with them are on their way.
        """

    def settle(self, task_id: str, attempt: int) -> None:
        """The report of this attempt was answered: the claim is over."""

    def cancel(self, claim: Held) -> None:
        """Stop this attempt, if it can be stopped: its cancellation was asked for."""

    def sweep(self) -> None:
        """Start what its background task has left lying."""

    def fence(self) -> None:
        """Stop all attempts and forget their claims: their lease is about to end."""


class TaskCode(NamedTuple):
    """The task code that a worker can run."""

    known_types: frozenset[str] = frozenset()
    """All types; empty: it does not say."""
    user_types: frozenset[str] = frozenset()
    """Those that belong to task modules."""
    generation: int = 0
    """The generation of the task modules."""
    limits: Mapping[str, TypeLimits] = {}
    """The limits of types' attempts; types without limits are left out."""


class SelfReporter(Protocol):
    """The source of what a worker can say of its process and its hosts."""

    def hosts(self) -> Sequence[object]:
        """Which hosts there are, and how they stand; cheap, and equal while that stays."""

    def report(self) -> WorkerReport:
        """All there is to tell, now."""


class CountsSource(Protocol):
    """The source of a worker's counts."""

    @property
    def version(self) -> int:
        """Changes with every observation."""

    def counts(self) -> WorkerCounts:
        """All observations so far."""
