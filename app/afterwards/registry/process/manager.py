"""The registry process, as others reach and start it, over `multiprocessing.managers`.

Workers reach it through `RegistryProxy`: the shared dictionary of tasks, with verbs. A connection
of a manager can run code, so the socket lies in a private directory and every connection proves
that it knows the key there.

The other side, `body`, is not imported here. Master and workers have no use for the registry's
rules and its journal, which take a tenth of a second to import.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.managers import BaseManager, BaseProxy
from multiprocessing.util import ForkAwareLocal
from pathlib import Path
from typing import Any, Final, cast

from afterwards.encryption_keys import EncryptionKeys
from afterwards.registry.process.lock import Endpoint
from afterwards.registry.protocol.answers import Answer, Events, Reply
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.mapping import TaskMapping
from afterwards.registry.protocol.requests import ReadById, Request

READY: Final = "ready"


@dataclass(frozen=True)
class RegistryConfig:
    """Everything the registry process has to know; it reads no settings itself."""

    data_dir: str
    max_pending: int
    max_pending_bytes: int
    lease_seconds: float
    retention_hours: float
    linger_seconds: float
    """The time for which a registry that is told to stop waits for the last reports of its
    workers."""
    log_level: str
    log_format: str
    take_over: bool = True
    """End the registry that an earlier service may have left behind (see `registry.lock`)."""
    clock_confirmed: bool = False
    """The wall clock is right, whatever it has jumped."""
    activity_days: float = 90.0
    """So long what people have done by hand is remembered."""
    first_key_file: str = ""
    """As for `first_key.provide`."""
    output_dir: str = ""
    """The directory of the files of tasks; empty: none are removed."""
    keys: EncryptionKeys = field(default_factory=EncryptionKeys)
    """The keys of the journal. They are on no command line, where others would see them."""

    def outputs(self) -> Path | None:
        """The directory in which tasks have their files; None: they have none."""
        return Path(self.output_dir) if self.output_dir else None


class RegistryProxy(TaskMapping, BaseProxy):
    """A registry in another process, and a read-only mapping of ids to tasks.

    It has a connection of its own for each thread that uses it; once broken, it stays so.
    """

    _exposed_ = ("exchange", "read", "watch", "follow")

    def __init__(self, token: Any, serializer: str, **options: Any) -> None:
        # Not counted: what gives a count back is a finaliser, and where that runs, in whatever
        # thread the collector does, it opens a connection and may close that thread's own.
        super().__init__(token, serializer, **{**options, "incref": False})
        # Otherwise the proxies of a thread share one, and inherit a broken one from each other.
        self._tls = ForkAwareLocal()

    def _after_fork(self) -> None:
        """A fork, as a task may make one, has no business with the registry."""

    def exchange(
        self, worker: Worker | None, connection: int, requests: Sequence[Request]
    ) -> Reply:
        """See `Registry.exchange`."""
        return cast("Reply", self._call("exchange", worker, connection, requests))

    def read(self, requests: Sequence[ReadById]) -> Sequence[Answer]:
        """See `Registry.read`."""
        return cast("Sequence[Answer]", self._call("read", requests))

    def watch(self, worker: Worker, connection: int, timeout_seconds: float) -> bool:
        """See `Registry.watch`."""
        return cast("bool", self._call("watch", worker, connection, timeout_seconds))

    def follow(self, epoch: str, after: int, timeout_seconds: float) -> Events:
        """See `Registry.follow`."""
        return cast("Events", self._call("follow", epoch, after, timeout_seconds))

    def _call(self, method: str, *args: object) -> object:
        # The stubs say that it returns nothing; it returns what the method returned.
        call = cast("Callable[[str, tuple[object, ...]], object]", self._callmethod)
        return call(method, args)


class Manager(BaseManager):
    """The manager on the side of those who use the registry, which its own side hosts."""


Manager.register("registry", proxytype=RegistryProxy, exposed=RegistryProxy._exposed_)


def connect(endpoint: Endpoint) -> RegistryProxy:
    """A proxy of the registry at `endpoint`.

    Raises:
        OSError, EOFError: it does not answer; worth another try.
        NotPrivate: somebody else may have written its key.
    """
    manager = Manager(address=endpoint.socket, authkey=endpoint.authkey())
    manager.connect()
    proxy: RegistryProxy = manager.registry()  # type: ignore[attr-defined] # `register` makes it
    return proxy


def arguments(
    config: RegistryConfig,
    endpoint: Endpoint,
    *,
    check: bool,
    ran: tuple[float, float] | None,
    pulse_fd: int,
    ready_fd: int | None,
    keys_fd: int | None,
) -> list[str]:
    """The command line for `body.main`, of a child of this process.

    Args:
        keys_fd: where the child reads `config.keys`; None: there are none.
    """
    told = asdict(config)
    del told["keys"]
    options = {
        "config": told,
        "endpoint": asdict(endpoint),
        "check": check,
        "ran": ran,
        "pulse_fd": pulse_fd,
        "ready_fd": ready_fd,
        "keys_fd": keys_fd,
        "parent": os.getpid(),
    }
    return [json.dumps(options)]
