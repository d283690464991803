"""The registry process as its parent sees it: start it, keep it running, stop it."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from afterwards.errors import AfterwardsError, NotPrivate
from afterwards.logs import get_logger
from afterwards.registry.process import private
from afterwards.registry.process.lock import Endpoint, holder_of, last_holder_of
from afterwards.registry.process.manager import READY, RegistryConfig, arguments
from afterwards.registry.process.pulse import Pulse
from afterwards.system.trouble import Trouble

log = get_logger(__name__)

_POLL_SECONDS: Final = 0.02
_LOOK_MILLISECONDS: Final = 1_000
_RESTART_PAUSE_SECONDS: Final = 0.5
_KILLED_SECONDS: Final = 5.0


class RegistryStartError(AfterwardsError):
    """The registry process could not start; the message is its own."""


class RegistryProcess:
    """One child process that hosts the registry.

    To be started from a thread that lives as long as the child should: the kernel ends it with
    that thread.

    Args:
        endpoint: of a registry that somebody else has started, to be started again there; None:
            a new one.

    Raises:
        ConfigurationError: there is no place for the private directory.
        NotPrivate: the endpoint's directory may be somebody else's.
    """

    def __init__(self, config: RegistryConfig, endpoint: Endpoint | None = None) -> None:
        self._config = config
        if endpoint is not None:
            self.endpoint, self._authkey = endpoint, endpoint.authkey()
        else:
            self.endpoint, self._authkey = _new_endpoint(), secrets.token_bytes(32)
            private.provide(self.endpoint.directory, self._authkey)
            self.endpoint.authkey()
        self._child: subprocess.Popen[bytes] | None = None
        self._pulse: Pulse | None = None
        self._not_before = 0.0
        self._spawned_at = 0.0
        """The time at which the child was started last, by the wall clock."""
        self._began_at = 0.0
        """The time at which the child that serves, or died, was started; 0: by another process."""
        self._died_at: float | None = None
        """The time at which its death was seen; None: it runs."""
        self._no_look = Trouble(log, "cannot tell whether the registry is served; looking again")
        self._no_start = Trouble(log, "registry process cannot be started; trying again")
        self._stopped = False

    def start(self) -> None:
        """Start it and wait until it serves.

        It looks for corruption in the journal first, which takes as long as reading it does.

        Raises:
            RegistryStartError: it cannot; the message says why.
        """
        before = last_holder_of(Path(self._config.data_dir))
        reader, writer = os.pipe()
        try:
            self._spawn(check=True, ready_fd=writer)
            os.close(writer)
            self._wait_for_word(reader)
            # Its line, or the end of the pipe with the process.
            line = os.read(reader, 4096).decode().strip()
        finally:
            os.close(reader)
        if line != READY:
            self.stop(timeout_seconds=1.0)
            raise RegistryStartError(line or "the registry process ended at its start; see its log")
        if before is not None and before.endpoint != self.endpoint:
            # Left behind by a service that was killed.
            _remove(before.endpoint)

    def ensure_running(self) -> None:
        """Start it again if it has died. Cheap and silent otherwise; never raises."""
        if self._stopped or time.monotonic() < self._not_before:
            return
        if self._is_served():
            self._began_at, self._died_at = self._spawned_at, None
            return
        if self._died_at is None:
            self._died_at = time.time()
        # Without the pause a registry that cannot start would be started without end.
        self._not_before = time.monotonic() + _RESTART_PAUSE_SECONDS
        if not self._no_start.is_on:
            log.error("registry process died; starting it again")
        try:
            self._spawn(check=False, ready_fd=None)
        except (OSError, MemoryError, NotPrivate) as error:
            self._no_start.failed(error)
        else:
            self._no_start.over()

    def end_if_silent(self) -> None:
        """Kill it if it is stopped (SIGSTOP). Cheap; never raises.

        To be called every second or so.
        """
        if self._pulse is not None and self._is_running() and self._pulse.is_silent():
            log.error("registry process gives no sign of life; ending it", registry_pid=self.pid)
            self._signal(signal.SIGKILL)

    def is_beating(self) -> bool:
        """True if it has given signs of life, and still does. Cheap."""
        return self._is_running() and self._pulse is not None and self._pulse.is_beating()

    def stop(self, timeout_seconds: float) -> None:
        """Stop it: SIGTERM, then SIGKILL after `timeout_seconds`. May be called again."""
        self._stopped = True
        if self._is_running():
            self._signal(signal.SIGTERM)
            if not self._wait_ended(timeout_seconds):
                log.error("registry process did not stop in time; killed")
                self._signal(signal.SIGKILL)
                self._wait_ended(_KILLED_SECONDS)
        self._reap()
        # Where it cannot be told, the next service removes what is left.
        with self._no_look.survived():
            # Another worker may have started the registry again, or it was never this one's.
            holder = holder_of(Path(self._config.data_dir))
            if holder is None or holder.endpoint != self.endpoint:
                _remove(self.endpoint)

    @property
    def pid(self) -> int | None:
        """The pid of the child, if it was started."""
        return None if self._child is None else self._child.pid

    def _spawn(self, *, check: bool, ready_fd: int | None) -> None:
        self._reap()
        # Its last owner, or whoever cleans temporary directories, may have removed it.
        private.provide(self.endpoint.directory, self._authkey)
        self._pulse = pulse = Pulse()
        try:
            with _to_be_read(self._config.keys.text) as keys_fd:
                self._child = self._popen(pulse, check=check, ready_fd=ready_fd, keys_fd=keys_fd)
        finally:
            pulse.started()

    def _popen(
        self, pulse: Pulse, *, check: bool, ready_fd: int | None, keys_fd: int | None
    ) -> subprocess.Popen[bytes]:
        options = arguments(
            self._config,
            self.endpoint,
            check=check,
            ran=self._ran(),
            pulse_fd=pulse.writer,
            ready_fd=ready_fd,
            keys_fd=keys_fd,
        )
        # -P: the directory the service is started in may hold a package named app, too. A session
        # of its own: Ctrl-C is for the master, and the registry goes last.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "afterwards.registry.process", *options],
            pass_fds=[fd for fd in (pulse.writer, ready_fd, keys_fd) if fd is not None],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # What SQLite does not keep in memory is as large as the journal when that is written
            # anew. It is plain, and nobody looks for it in /var/tmp.
            env={**os.environ, "SQLITE_TMPDIR": self._config.data_dir},
        )

    def _ran(self) -> tuple[float, float] | None:
        """The times at which the child before began and died; None: they are not known."""
        self._spawned_at = time.time()
        if self._died_at is None or not self._began_at:
            return None
        return self._began_at, self._died_at

    def _wait_for_word(self, reader: int) -> None:
        word = select.poll()
        word.register(reader)
        while not word.poll(_LOOK_MILLISECONDS):
            self.end_if_silent()

    def _is_running(self) -> bool:
        # Without a descriptor: there may be none just now. gunicorn reaps every child, after which
        # `poll` takes it for ended with status 0.
        return self._child is not None and self._child.poll() is None

    def _wait_ended(self, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while self._is_running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return not self._is_running()

    def _reap(self) -> None:
        # Its main thread has ended; the others, and with them its lock, may take a moment more.
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_KILLED_SECONDS)
        if self._pulse is not None:
            self._pulse.close()
            self._pulse = None

    def _is_served(self) -> bool:
        if self._is_running():
            return True
        if self._config.take_over:
            return False
        # Without a master any worker may have started it.
        try:
            holder = holder_of(Path(self._config.data_dir))
        except (OSError, MemoryError) as error:
            self._no_look.failed(error)
            return True
        self._no_look.over()
        return holder is not None

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._is_running():
            os.kill(self._child.pid, number)


def _new_endpoint() -> Endpoint:
    return Endpoint(secrets.token_hex(8), private.make())


@contextlib.contextmanager
def _to_be_read(text: str) -> Iterator[int | None]:
    """A pipe that holds the text, to be inherited; None: there is none."""
    if not text:
        yield None
        return
    reader, writer = os.pipe()
    try:
        try:
            # It is shorter than what a pipe holds.
            os.write(writer, text.encode())
        finally:
            os.close(writer)
        yield reader
    finally:
        os.close(reader)


def _remove(endpoint: Endpoint) -> None:
    # Its path may come from a file: nothing else is to be removed, whatever that says.
    if Path(endpoint.directory).name.startswith(private.PREFIX):
        shutil.rmtree(endpoint.directory, ignore_errors=True)
