"""The body of the registry process: it hosts a journaled registry until it is told to stop."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import AfterwardsError, JournalError
from afterwards.logs import configure, get_logger
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.journal.base import Journal
from afterwards.registry.journal.file import journal_path, size_of_file, wal_path
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.process import first_key
from afterwards.registry.process.line import serve_line
from afterwards.registry.process.lock import DataDirLock, Endpoint, last_holder_of
from afterwards.registry.process.manager import READY, Manager, RegistryConfig, RegistryProxy
from afterwards.registry.process.pulse import beat
from afterwards.registry.state.acceptance import Limits
from afterwards.system.gc_tuning import spare_the_loaded
from afterwards.system.trouble import Trouble
from afterwards_executors.prctl import end_with_parent

log = get_logger(__name__)

_POLL_SECONDS: Final = 0.05
_IGNORED: Final = (
    *(signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGTTIN, signal.SIGTTOU),
)
"""Signals for the master that are often sent to every process of a service. Their default meanings
would end the registry, or stop it."""
_ACCEPT_AGAIN_SECONDS: Final = 0.1
_CLOSED: Final = (None, errno.EBADF, errno.EINVAL)
"""Errors of a closed listener; the first is what Python itself gives."""


_hosted: list[MemoryRegistry] = []


class _Host(Manager):
    """The manager on the side of the registry."""


_Host.register(
    "registry",
    callable=lambda: _hosted[0],
    proxytype=RegistryProxy,
    exposed=RegistryProxy._exposed_,
)


def serve(
    config: RegistryConfig,
    endpoint: Endpoint,
    master: int,
    *,
    check: bool,
    ran: tuple[float, float] | None = None,
    tell: Callable[[str], None],
) -> None:
    """Host the registry until SIGTERM, then until its workers have left.

    Args:
        master: the process that looks after this one.
        check: look for corruption before anything else.
        ran: as for `MemoryRegistry`.
        tell: gets `READY`, or why the registry cannot be hosted.
    """
    data_dir = Path(config.data_dir)
    try:
        lock = DataDirLock(data_dir)
        served = last_holder_of(data_dir) is not None
        lock.acquire(endpoint, master, take_over=config.take_over)
        _require_journal(data_dir, served=served, begun=not check)
        journal = SqliteJournal(journal_path(data_dir), check=check, keys=config.keys)
        registry = _registry(config, endpoint, journal, ran)
        first_key.provide(registry, config.first_key_file)
        authkey = endpoint.authkey()
    except (AfterwardsError, OSError) as error:
        problem = str(error)
        if isinstance(error, OSError) and error.filename is None:
            problem = f"{data_dir}: {error.strerror or error}"
        log.error("registry cannot start", error=problem)
        tell(problem)
        sys.exit(1)
    server = _server(registry, endpoint, authkey)
    threading.Thread(
        target=_linger,
        args=(registry, server, config.linger_seconds),
        name="linger",
        daemon=True,
    ).start()
    spare_the_loaded()
    tell(READY)
    log.info("registry serves", data_dir=str(data_dir))
    server.serve_forever()


def _registry(
    config: RegistryConfig,
    endpoint: Endpoint,
    journal: Journal,
    ran: tuple[float, float] | None,
) -> MemoryRegistry:
    return MemoryRegistry(
        endpoint.service,
        Limits(config.max_pending, config.max_pending_bytes, config.lease_seconds),
        retention_seconds=config.retention_hours * 3600,
        activity_seconds=config.activity_days * 86_400,
        clock_confirmed=config.clock_confirmed,
        journal=journal,
        counts_file=Path(endpoint.counts),
        output_dir=config.outputs(),
        ran=ran,
    )


def _server(registry: MemoryRegistry, endpoint: Endpoint, authkey: bytes) -> Any:
    """The server of a manager that hosts a registry, at the endpoint's socket."""
    _hosted.append(registry)
    Path(endpoint.socket).unlink(missing_ok=True)
    server: Any = _Host(address=endpoint.socket, authkey=authkey).get_server()
    server.accepter = partial(_accept, server)
    server.serve_client = partial(serve_line, server.serve_client)
    # A reference that is never given back: without any, the server would forget the object.
    server.create(None, "registry")
    return server


def _require_journal(data_dir: Path, *, served: bool, begun: bool) -> None:
    """Begin with no empty journal in the place of one that the service has had.

    Args:
        served: a service worked on the directory before; then a new journal is spoken of.
        begun: it was this service.

    Raises:
        JournalError: it is gone or empty.
    """
    path = journal_path(data_dir)
    if size_of_file(path):
        return
    if begun:
        problem = "it was removed or emptied while the service ran; move it back, or restore a copy"
        raise JournalError(str(path), problem)
    if served and not size_of_file(wal_path(path)):
        log.warning(
            "a service has worked on this data directory, and its journal is gone or empty; "
            "beginning a new one, without any task",
            path=str(path),
        )


def _accept(server: Any) -> None:
    """Accept connections until the listener is closed, and then end, to be started again.

    In place of the manager's own: without descriptors that spins, and where it can start no thread
    it ends, and no worker reaches this registry any more.
    """
    no_accept = Trouble(log, "no connection can be accepted; trying again")
    no_thread = Trouble(log, "no thread for a connection; those that come are closed")
    while True:
        try:
            connection = server.listener.accept()
        except (OSError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno in _CLOSED:
                log.critical("the registry's socket is closed; the registry ends", error=str(error))
                server.stop_event.set()
                return
            no_accept.failed(error)
            time.sleep(_ACCEPT_AGAIN_SECONDS)
            continue
        no_accept.over()
        try:
            threading.Thread(target=server.handle_request, args=[connection], daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            # Who connects tries again.
            connection.close()
            no_thread.failed(error)
            time.sleep(_ACCEPT_AGAIN_SECONDS)
        else:
            no_thread.over()


_stop_asked = threading.Event()


def _linger(registry: MemoryRegistry, server: Any, seconds: float) -> None:
    """After SIGTERM: wait for the workers' last reports, then end the server.

    A worker that is frozen is ended meanwhile, when its lease ends: if the master has died, nothing
    else would end it, and it would hold the address.
    """
    _stop_asked.wait()
    deadline = time.monotonic() + seconds
    while registry.has_workers() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    registry.close()
    server.stop_event.set()


def main(arguments: Sequence[str]) -> None:
    """The process' body; `arguments` as `afterwards.registry.process.supervised` writes them."""
    options = json.loads(arguments[0])
    config = RegistryConfig(**options["config"], keys=_received(options["keys_fd"]))
    endpoint = Endpoint(**options["endpoint"])
    configure(config.log_level, config.log_format)
    beat(options["pulse_fd"])
    # The socket is made by the manager, as open as the umask lets it be.
    os.umask(0o177)
    for ignored in _IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    end_with_parent(signal.SIGTERM, options["parent"])
    serve(
        config,
        endpoint,
        options["parent"],
        check=options["check"],
        ran=options["ran"],
        tell=_teller(options["ready_fd"]),
    )


def _stop(*_: object) -> None:
    _stop_asked.set()
    if not _hosted:
        # It waits for the data directory, or looks through the journal.
        sys.exit(0)


def _received(keys_fd: int | None) -> EncryptionKeys:
    if keys_fd is None:
        return EncryptionKeys()
    with os.fdopen(keys_fd, encoding="utf-8") as pipe:
        return EncryptionKeys(pipe.read())


def _teller(ready_fd: int | None) -> Callable[[str], None]:
    """Says one thing to the parent, if it listens."""

    def tell(line: str) -> None:
        if ready_fd is not None:
            os.write(ready_fd, f"{line}\n".encode())
            os.close(ready_fd)

    return tell
