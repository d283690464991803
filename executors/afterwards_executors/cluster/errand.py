"""A call on its way to a Dask worker, and what is said about it meanwhile."""

from __future__ import annotations

from typing import Final, NamedTuple

from afterwards_executors.base import Name, Placement

TO_CLIENT: Final = "afterwards-to-client"
"""The operation of messages to a submitter. They go from a Dask worker, or the scheduler."""

TO_WORKER: Final = "afterwards-to-worker"
"""The operation of messages from a submitter to a Dask worker."""


class About:
    """The subjects of messages."""

    # To a submitter.
    RUNNING = "running"
    """These calls run here; at this moment, by the worker's clock."""
    ENDED = "ended"
    """A call's outcome, as `frames.encode_outcome` writes it."""
    ABSENT = "absent"
    """A call that was to be stopped is not there, and never will be."""
    BARRED = "barred"
    """Dask has taken a call from its worker; it does not run a second time."""
    PROGRESS = "progress"
    PRINTED = "printed"
    LOGGED = "logged"
    ASKED = "asked"
    # To a worker.
    LEASE = "lease"
    """The answer to RUNNING: which of them go on."""
    STOP = "stop"
    ANSWER = "answer"
    WIND_UP = "wind_up"
    GONE = "gone"
    """The submitter has left the cluster."""


def key_of(group: str, name: str, number: int) -> tuple[str, str]:
    """The key of a call in Dask.

    A pair: Dask remembers the first part for ever, with the time that such calls take.
    """
    return group, f"{name}:{number}"


class Errand(NamedTuple):
    """A call, for the host with the Dask client."""

    call: bytes
    """As `frames.encode_call` writes it. That host does not take it apart."""
    timeout_seconds: float | None
    crowd: int | None
    name: Name
    placement: Placement

    @property
    def key(self) -> tuple[str, str]:
        """Its key in Dask."""
        return key_of(*self.name)


class Order(NamedTuple):
    """A call, for the Dask worker that runs it. Plain data: it crosses as a tuple."""

    gate: str
    client: str
    number: int
    """The call's, of its client."""
    name: str
    attempt: int
    """Its place among the calls of this name, see `base.Name`."""
    timeout_seconds: float | None
    call: bytes
