"""gunicorn's master: looks after its web workers, the registry process and the task code."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, Final, Protocol

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from afterwards.errors import AfterwardsError
from afterwards.logs import flush_or_discard, get_logger
from afterwards.server.generations import Generations
from afterwards.server.service_manager import ServiceManager
from afterwards.server.sources import Sources
from afterwards.server.worker import HELD_SIGNALS, leave
from afterwards.system.trouble import Trouble
from afterwards_executors.hosts import orphans

log = get_logger(__name__)

REGISTRY_STOP_SECONDS: Final = 5.0
_MISSED_SECONDS: Final = 1.0
_SPAWN_PAUSE_SECONDS: Final = 1.0
_ENDED_NOT_REAPED: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT


class RegistryProcess(Protocol):
    """`afterwards.registry.process.supervised.RegistryProcess`, as the master uses it."""

    @property
    def endpoint(self) -> Any:
        """The address of the registry; handed to workers by fork."""

    @property
    def pid(self) -> int | None:
        """The pid of the child, if it was started."""

    def start(self) -> None:
        """Start it and wait until it serves. Raises `AfterwardsError`."""

    def ensure_running(self) -> None:
        """Start it again if it has died. Cheap; never raises."""

    def end_if_silent(self) -> None:
        """Kill it if it is stopped (SIGSTOP). Cheap; never raises."""

    def is_beating(self) -> bool:
        """True if it gives signs of life. Cheap."""

    def stop(self, timeout_seconds: float) -> None:
        """Stop it. May be called again."""


class Supervisor(Arbiter):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's master, which looks after the registry process and the task code, too.

    Args:
        generations: of the task code.
        manager: is told of the service's life.
        sources: files that the task code is renewed for when they change; None: only if asked.
        registry: not started; None: there is no such process.
        only_worker: no two can share the registry.
        keeps_listener: the listening socket is somebody else's, too, who needs it afterwards.
    """

    def __init__(
        self,
        application: BaseApplication,
        registry: RegistryProcess | None,
        generations: Generations,
        manager: ServiceManager,
        *,
        sources: Sources | None = None,
        keeps_listener: bool = False,
        only_worker: bool = False,
    ) -> None:
        self._registry = registry
        self._only_worker = only_worker
        self._generations = generations
        self._manager = manager
        self._sources = sources
        self._registry_started = False
        self._registry_gone_since = math.inf
        self._stopping = False
        self._no_look = Trouble(log, "registry process cannot be looked after; trying again")
        self._no_worker = Trouble(log, "a worker cannot be started; trying again")
        self._has_served = False
        self._spawn_not_before = 0.0
        super().__init__(application)
        # gunicorn's word for it; it would unlink the path of a Unix socket at the end.
        self.systemd = keeps_listener

    def start(self) -> None:
        """Open for connections, which queue, then start the registry; workers come after it."""
        super().start()
        with contextlib.suppress(OSError):  # then init adopts them, and they stay
            orphans.adopt_orphans()
        if self._registry is not None:
            try:
                with _obeying_stops():
                    self._registry.start()
            except (AfterwardsError, SystemExit):
                self.stop()
                raise
            self._registry_started = True
        self._generations.open()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(self.app.welcome() + "\n")
        # Otherwise each worker would inherit what is left of it.
        flush_or_discard(sys.stdout)

    def manage_workers(self) -> None:
        """Called each second, and after each signal."""
        self._ensure_registry()
        if self._sources is not None and self._sources.have_changed():
            self._generations.renew()
        self._generations.look_after(self.WORKERS)
        # What task code has left behind by way of a worker that was killed.
        orphans.end_orphans()
        super().manage_workers()
        if any(worker.has_beaten() for worker in self.WORKERS.values()):
            self._manager.ready()

    def reap_workers(self) -> None:
        """The only hook that is called while a stop waits for workers."""
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
            if not self._stopping and not self._has_served:
                raise
            return True
        return False

    def spawn_workers(self) -> None:
        """Start what is missing, at most once a second if it ends at its start."""
        if time.monotonic() >= self._spawn_not_before:
            super().spawn_workers()

    def handle_hup(self) -> None:
        """Have the task code as it is on the disk. The workers stay as they are."""
        self._generations.renew()

    def _ensure_registry(self) -> None:
        if self._registry is None:
            self._manager.alive()
            return
        # Not once it has been stopped: gunicorn may stop twice, and reaps each time.
        if not self._registry_started:
            return
        with self._no_look.survived():
            if self._registry.is_beating():
                self._manager.alive()
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
        self._manager.stopping()
        self._generations.close()
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
        log.warning("SIGUSR2 ignored; SIGHUP renews the task code, a restart the service")

    def handle_ttin(self) -> None:
        """One worker more; not with the memory registry, which no two can share."""
        if self._only_worker:
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
