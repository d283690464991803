"""The ways a web worker comes to its registry."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from afterwards.registry.process import first_key
from afterwards.registry.process.lock import Endpoint, holder_of
from afterwards.registry.process.manager import RegistryConfig, connect
from afterwards.registry.process.supervised import RegistryProcess, RegistryStartError
from afterwards.registry.protocol.base import Registry

__all__ = ["REGISTRIES", "Access", "RegistryConfig", "new_service", "of_service"]

_STOP_SECONDS: Final = 5.0
_MEMORY_SERVICE: Final = "memory"


@dataclass(frozen=True)
class Access:
    """The way to a registry, and what comes with it."""

    service: str
    connect: Callable[[], Registry]
    """Gives the registry for the calling thread. Raises OSError or EOFError if it is not there."""
    close: Callable[[], None] = lambda: None
    guard: Callable[[], None] | None = None
    """To be called often, from the same thread: starts the registry process again if it has died,
    or is stopped. None: somebody else does."""


def new_service() -> str:
    """The name of a service that begins."""
    return secrets.token_hex(8)


def of_service(endpoint: Endpoint) -> Access:
    """The registry process that the master of this service looks after."""
    return Access(endpoint.service, lambda: connect(endpoint))


def in_memory(config: RegistryConfig) -> Access:
    """A registry in this process, gone with it."""
    # Other workers do without these, which take a tenth of a second to import.
    from afterwards.registry.engine.memory import (  # noqa: PLC0415 - see above
        MemoryRegistry,
        Surroundings,
    )
    from afterwards.registry.state.acceptance import Limits  # noqa: PLC0415 - see above

    registry = MemoryRegistry(
        _MEMORY_SERVICE,
        # The only worker is this process: when it ends, so does the registry.
        Limits(config.max_pending, config.max_pending_bytes, lease_seconds=math.inf),
        retention_seconds=config.retention_hours * 3600,
        activity_seconds=config.activity_days * 86_400,
        clock_confirmed=config.clock_confirmed,
        output_dir=config.outputs(),
        surroundings=Surroundings(when_gone=lambda *_: None),
    )
    first_key.provide(registry, config.first_key_file)
    return Access(_MEMORY_SERVICE, lambda: registry, registry.close)


def own_or_joined(config: RegistryConfig) -> Access:
    """The registry process of the data directory: the one there is, or an own one.

    The worker that notices that it has died starts it again, at the same endpoint, so that the
    other workers find it. The lock of the data directory lets one of them win.

    Raises:
        RegistryStartError: there is none, and it cannot be started.
    """
    config = replace(config, take_over=False)
    data_dir = Path(config.data_dir)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    holder = holder_of(data_dir)
    if holder is not None:
        return _shared(RegistryProcess(config, holder.endpoint))
    process = RegistryProcess(config)
    try:
        process.start()
    except RegistryStartError:
        holder = holder_of(data_dir)
        if holder is None:
            raise
        return _shared(RegistryProcess(config, holder.endpoint))
    return _shared(process)


def _shared(process: RegistryProcess) -> Access:
    def guard() -> None:
        process.end_if_silent()
        process.ensure_running()

    return Access(
        process.endpoint.service,
        lambda: connect(process.endpoint),
        lambda: process.stop(_STOP_SECONDS),
        guard,
    )


REGISTRIES: Final[Mapping[str, Callable[[RegistryConfig], Access]]] = MappingProxyType(
    {"manager": own_or_joined, "memory": in_memory}
)
"""Every kind of registry, by the value of `AFTERWARDS_REGISTRY`, for a process without a master."""
