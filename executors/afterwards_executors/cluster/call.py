"""A call that a host with a Dask client was given, as it stands."""

from __future__ import annotations

from typing import Any

from distributed import Future

from afterwards_executors.base import Outcome
from afterwards_executors.cluster.errand import Errand


class ClusterCall:
    """A call that this host was given, and that is not over."""

    def __init__(self, number: int, errand: Errand) -> None:
        self.number = number
        self.errand = errand
        self.future: Future[Any] | None = None
        self.worker: str | None = None
        """The Dask worker that is known to run it."""
        self.heard_at = 0.0
        """The moment at which that worker was last heard of it, monotonic."""
        self.is_given = False
        """True if the cluster has it."""
        self.is_stopped = False
        self.lost: Outcome | None = None
        """Its outcome, if nothing but the end of its lease is waited for."""

    @property
    def is_lost(self) -> bool:
        """True if Dask has no more to say of it."""
        return self.lost is not None
