"""`afterwards serve`: the gunicorn master, its web workers and the registry process.

The master starts the registry before the workers, keeps it running, and stops it after them. It
serves nothing and holds no connection to the registry.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any, Final, Protocol

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from afterwards.errors import AfterwardsError
from afterwards.logs import configure, flush_or_discard, get_logger
from afterwards.server.descriptors import connections_that_fit, raise_limit
from afterwards.server.listener import Address, listen
from afterwards.server.worker import (
    HELD_SIGNALS,
    IDLE_SECONDS,
    REQUEST_DRAIN_SECONDS,
    DrainingUvicornWorker,
    leave,
)
from afterwards.settings import Settings, unknown_variables
from afterwards.system.directories import prepare_directories, require_temporary_directory
from afterwards.system.trouble import Trouble
from afterwards.task_types.modules import load_catalogue

log = get_logger(__name__)

HEARTBEAT_TIMEOUT_SECONDS: Final = 30
"""A worker whose event loop is blocked for so long is killed and replaced."""

KEEP_ALIVE_SECONDS: Final = 65
"""Longer than the 60 s after which common load balancers close idle connections: the side that
sends the requests should be the one to close."""

REGISTRY_STOP_SECONDS: Final = 5.0

_MARGIN_SECONDS: Final = 10.0
"""For the lifespan beyond the grace: stopping the executors and sending the last reports."""

_NEWCOMERS_SECONDS: Final = 10.0
_MISSED_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.02
_SPAWN_PAUSE_SECONDS: Final = 1.0
_ENDED_NOT_REAPED: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT


class RegistryProcess(Protocol):
    """What the master needs of `afterwards.registry.process.supervised.RegistryProcess`."""

    @property
    def endpoint(self) -> Any:
        """Where workers find the registry; handed to them by fork."""

    @property
    def pid(self) -> int | None:
        """Of the child, if it was started."""

    def start(self) -> None:
        """Start it and wait until it serves. Raises `AfterwardsError`."""

    def ensure_running(self) -> None:
        """Start it again if it has died. Cheap; never raises."""

    def end_if_silent(self) -> None:
        """Kill it if it is stopped (SIGSTOP) and serves nobody. Cheap; never raises."""

    def stop(self, timeout_seconds: float) -> None:
        """Stop it. May be called again."""


def serve(settings: Settings) -> None:
    """Run the service until it is told to stop; leaves by `SystemExit`.

    Raises:
        ConfigurationError: the address, a directory or a module of task types cannot be used.
        AfterwardsError: the registry cannot start.
    """
    configure(settings.log_level, settings.log_format)
    for message in unknown_variables():
        log.warning(message)
    # Imported here once, for all workers; the application itself is made in each.
    main = importlib.import_module("afterwards.main")
    require_temporary_directory()
    # Imported once for all workers, too; a mistake in one is to be said before anything starts.
    load_catalogue(settings.task_modules)
    prepare_directories(settings)
    listener = listen(settings)
    registry: RegistryProcess | None = None
    if settings.registry == "manager":
        process = importlib.import_module("afterwards.registry.process.supervised")
        registry = process.RegistryProcess(main.registry_config(settings))
    else:
        log.warning("memory registry: nothing outlives this process")
    Supervisor(WebApplication(settings, listener, registry), registry).run()


class WebApplication(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's view of the service: its configuration, and the application each worker makes."""

    def __init__(
        self, settings: Settings, listener: socket.socket, registry: RegistryProcess | None
    ) -> None:
        self._settings = settings
        self._registry = registry
        self.address = Address.of(listener)
        # gunicorn closes the descriptor once it has made a socket of its own from it.
        self._descriptor = listener.detach()
        self._max_connections = connections_that_fit(settings, raise_limit())
        super().__init__()

    def load_config(self) -> None:
        """Everything gunicorn is told; it reads no file, argument or variable by itself."""
        settings = self._settings
        drain_seconds = IDLE_SECONDS + REQUEST_DRAIN_SECONDS + settings.grace_seconds
        options = {
            "bind": f"fd://{self._descriptor}",
            "workers": settings.workers,
            "worker_class": DrainingUvicornWorker,
            "logger_class": StructuredLogger,
            # At debug it would begin with a page of its own settings, which are not the service's.
            "loglevel": "info" if settings.log_level == "debug" else settings.log_level,
            "errorlog": None,
            "accesslog": None,
            "proc_name": "afterwards",
            "keepalive": KEEP_ALIVE_SECONDS,
            "worker_connections": self._max_connections,
            "forwarded_allow_ips": ",".join(settings.trusted_proxies),
            "timeout": HEARTBEAT_TIMEOUT_SECONDS,
            "graceful_timeout": math.ceil(drain_seconds + _MARGIN_SECONDS),
            # The master holds the only listener, so that connections queue during a reload.
            "reuse_port": False,
            # Two services of one user would share its path.
            "control_socket_disable": True,
        }
        if os.access("/dev/shm", os.W_OK):  # noqa: S108 - gunicorn makes a file with mkstemp
            # The heartbeat is a touched file: on a disk, it could block the event loop.
            options["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The ASGI application of one worker, made in that worker."""
        main = importlib.import_module("afterwards.main")
        endpoint = None if self._registry is None else self._registry.endpoint
        return main.create_app(self._settings, endpoint=endpoint)

    def welcome(self) -> str:
        """Where the service is and how to try it."""
        count = self._settings.workers
        workers = "1 worker" if count == 1 else f"{count} workers"
        body = '{"email": "success@simulator.example", "message": "Hello"}'
        return (
            f"Afterwards listens at {self.address} with {workers}; Ctrl-C stops it. Try:\n"
            f"  curl -i {self.address.for_curl()}/notify/ "
            f"-H 'Content-Type: application/json' -d '{body}'"
        )


class Supervisor(Arbiter):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's master, which looks after the registry process, too."""

    def __init__(self, application: WebApplication, registry: RegistryProcess | None) -> None:
        self._registry = registry
        self._registry_started = False
        self._registry_gone_since = math.inf
        self._stopping = False
        self._reloading = False
        self._oldest_newcomer = 0
        self._no_look = Trouble(log, "registry process cannot be looked after; trying again")
        self._no_worker = Trouble(log, "a worker cannot be started; trying again")
        self._has_served = False
        self._spawn_not_before = 0.0
        super().__init__(application)

    def start(self) -> None:
        """Open for connections, which queue, then start the registry; workers come after it."""
        super().start()
        if self._registry is not None:
            try:
                with _obeying_stops():
                    self._registry.start()
            except (AfterwardsError, SystemExit):
                self.stop()
                raise
            self._registry_started = True
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(self.app.welcome() + "\n")
        # Otherwise each worker would inherit what is left of it.
        flush_or_discard(sys.stdout)

    def manage_workers(self) -> None:
        """Called each second, after each signal, and by a reload before it stops the old."""
        self._ensure_registry()
        if self._reloading:
            self._wait_for_newcomers()
        super().manage_workers()

    def reap_workers(self) -> None:
        """The only hook that is called while a reload or a stop waits for workers."""
        starting = [pid for pid, worker in self.WORKERS.items() if not worker.has_beaten()]
        self._has_served = self._has_served or len(starting) < len(self.WORKERS)
        while self._reap_until_one_could_not_start():
            pass
        if any(pid not in self.WORKERS for pid in starting):
            # What has run out would end the next one at once, too.
            self._spawn_not_before = time.monotonic() + _SPAWN_PAUSE_SECONDS
        self._ensure_registry()

    def _reap_until_one_could_not_start(self) -> bool:
        try:
            super().reap_workers()
        except HaltServer:
            # A second worker that could not start would end the stop the first one began. One that
            # replaces another, by the same code, may have lacked descriptors or memory.
            if not self._stopping and (self._reloading or not self._has_served):
                raise
            return True
        return False

    def spawn_workers(self) -> None:
        """Start what is missing, at most once a second if it ends at its start."""
        if time.monotonic() >= self._spawn_not_before:
            super().spawn_workers()

    def reload(self) -> None:
        """SIGHUP: replace the workers, the old ones going on until the new ones serve."""
        self._reloading = True
        self._oldest_newcomer = self.worker_age + 1
        try:
            super().reload()
        except (OSError, MemoryError) as error:
            log.error(
                "not all workers are replaced, the others go on; send SIGHUP again",
                error=str(error) or repr(error),
            )
        finally:
            self._reloading = False

    def _wait_for_newcomers(self) -> None:
        # gunicorn stops the old workers as soon as it has forked the new ones; requests would wait
        # in the listener's queue until those have started.
        deadline = time.monotonic() + _NEWCOMERS_SECONDS
        while time.monotonic() < deadline:
            self.reap_workers()
            workers = list(self.WORKERS.values())
            if all(worker.age < self._oldest_newcomer or worker.has_beaten() for worker in workers):
                return
            time.sleep(_POLL_SECONDS)
        log.warning("new workers do not serve yet; the old ones stop all the same")

    def _ensure_registry(self) -> None:
        # Not once it has been stopped: gunicorn may stop twice, and reaps each time.
        if self._registry is None or not self._registry_started:
            return
        with self._no_look.survived():
            self._registry.end_if_silent()
            if not self._stopping or (self.WORKERS and self._is_registry_missed()):
                self._registry.ensure_running()

    def _is_registry_missed(self) -> bool:
        """During a stop: whether it has been gone for so long that a worker must need it.

        A stop sent to all processes at once ends it, rightly, after the last report of the last
        worker, which may take a moment more to end. Those that need it still try for longer.
        """
        assert self._registry is not None
        pid, gone = self._registry.pid or 0, True
        with contextlib.suppress(ChildProcessError):  # reaped, with the workers
            gone = os.waitid(os.P_PID, pid, _ENDED_NOT_REAPED) is not None
        if not gone:
            self._registry_gone_since = math.inf
            return False
        self._registry_gone_since = min(self._registry_gone_since, time.monotonic())
        return time.monotonic() - self._registry_gone_since >= _MISSED_SECONDS

    def spawn_worker(self) -> Any:
        """Fork a worker; None if that is not possible just now. In the worker, never returns."""
        master, umask = os.getpid(), _umask()
        # Between its fork and its own handlers a worker has the master's, which would swallow a
        # SIGTERM; the worker unblocks them.
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
        try:
            pid = super().spawn_worker()
        except SystemExit as leaving:
            if os.getpid() == master:
                raise
            leave(leaving.code if isinstance(leaving.code, int) else 1)
        except (OSError, MemoryError) as error:
            if os.getpid() != master:
                leave(1)
            # gunicorn sets another for its heartbeat file, and leaves it if there can be none.
            os.umask(umask)
            if self._reloading:
                raise
            # The next tick tries again.
            self._no_worker.failed(error)
            return None
        else:
            self._no_worker.over()
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)

    def stop(self, graceful: bool = True) -> None:
        """Stop the workers, then the registry, which takes their last reports."""
        self._stopping = True
        try:
            super().stop(graceful=True)
        finally:
            self._registry_started = False
            if self._registry is not None:
                self._registry.stop(REGISTRY_STOP_SECONDS)

    def handle_int(self) -> None:
        """Ctrl-C: like SIGTERM. A second one makes it quick."""
        raise StopIteration

    handle_quit = handle_int

    def handle_usr2(self) -> None:
        """Would start a second master, and with it a second registry on the same journal."""
        log.warning("SIGUSR2 ignored; SIGHUP replaces the workers without dropping a request")

    def handle_ttin(self) -> None:
        """One worker more; not with the memory registry, which no two can share."""
        if self._registry is None:
            log.warning("SIGTTIN ignored; the memory registry has room for one worker")
            return
        super().handle_ttin()


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


@contextlib.contextmanager
def _obeying_stops() -> Iterator[None]:
    """Leave at once by `SystemExit` if a stop is asked for.

    gunicorn's handlers only note a signal for the loop that has not begun yet, and the registry's
    start may take long: it looks through the journal, or waits for the data directory.
    """

    def leave(number: int, _frame: object) -> None:
        log.info("stop asked for during the start", signal=signal.Signals(number).name)
        sys.exit(0)

    stops = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    noting = {number: signal.signal(number, leave) for number in stops}
    try:
        yield
    finally:
        for number, handler in noting.items():
            signal.signal(number, handler)


class StructuredLogger(Logger):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's logger without handlers of its own: its lines go the way of all others."""

    def setup(self, cfg: Any) -> None:
        """Called at the start and on a reload."""
        super().setup(cfg)
        # uvicorn's worker takes these handlers over and does not propagate.
        self.error_log.handlers = list(logging.getLogger().handlers)
        self.error_log.propagate = False
