"""The settings of calls on a Dask cluster, for all who take part in one."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

RESOURCE_PREFIX: Final = "afterwards:"
"""Begins the names of all resources of ours on Dask workers."""

ROOM: Final = 10_000
"""So much of a gate each Dask worker has. A call that may share its worker with `n` calls, itself
included, takes `ROOM / n` of it, any other takes 1."""


MARGIN_SECONDS: Final = 1.0
"""The time in which the host of a call is killed once its lease is over."""


class NotForUs(Exception):
    """A cluster that calls cannot be given to; the message says why, and what to do."""


def installed_version() -> str:
    """The version of Afterwards that is installed here."""
    return importlib.metadata.version("afterwards")


@dataclass(frozen=True)
class StationSettings:
    """The code that hosts on Dask workers run, and their bounds."""

    version: str = field(default_factory=installed_version)
    """Dask workers with another version of Afterwards get no calls."""
    python: bytes = importlib.util.MAGIC_NUMBER
    """Dask workers with another version of Python's bytecode get no calls."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Contents of files, by the environment variable that tells hosts of the file."""
    prepare: bytes | None = field(default=None, repr=False)
    """A call, as `frames.encode_call` writes it, that is made in each host before its first."""
    hidden: str = ""
    """Variables that begin so are left out of the hosts' environment, if it is not empty."""
    lease_seconds: float = 15.0
    """A call ends if its submitter has not been heard of for so long."""
    max_value_bytes: int = 16 * 2**20
    max_calls: int | None = None
    max_memory_bytes: int | None = None

    @property
    def gate(self) -> str:
        """The name of the resource by which Dask finds the workers that have such a station.

        It says what they run: another version, generation or setting has another name.
        """
        digest = hashlib.sha256(pickle.dumps(self)).hexdigest()
        return f"{RESOURCE_PREFIX}{digest[:16]}"


@dataclass(frozen=True)
class ClusterSettings:
    """The way to a cluster, and the stations that it is to have."""

    scheduler: str
    """Its address, such as `tcp://scheduler:8786`. All else, TLS included, Dask reads from its own
    configuration (`DASK_…`)."""
    station: StationSettings = field(default_factory=StationSettings)
