"""The listening socket: opened by the master or handed to it, inherited by the workers."""

from __future__ import annotations

import errno
import os
import shlex
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from afterwards.errors import ConfigurationError
from afterwards.settings import Settings

IN_USE_SECONDS: Final = 3.0
"""The time for which an address in use is tried: the workers of a master that was killed hear of it
from the kernel, and close theirs a moment later."""

_LOOPBACK_OF: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
_BACKLOG: Final = 2048
_POLL_SECONDS: Final = 0.05
_ACTIVATION: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_FIRST_HANDED_IN: Final = 3
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def handed_in() -> socket.socket | None:
    """The listening socket that the starter of this process holds, too; None: there is none.

    As sd_listen_fds(3) has it, and the variables are gone afterwards. Connections wait in its queue
    while no service runs.

    Raises:
        ConfigurationError: there is anything but one listening stream socket.
    """
    pid, count, _ = (os.environ.pop(name, "") for name in _ACTIVATION)
    # Those for another process, a shell perhaps that this one was started from, are not meant.
    if pid != str(os.getpid()):
        return None
    if count != "1":
        problem = f"must be 1, a single ListenStream= in the socket's unit (got {count!r})"
        raise ConfigurationError("LISTEN_FDS", problem)
    try:
        listener = socket.socket(fileno=_FIRST_HANDED_IN)
    except OSError as error:
        problem = f"descriptor {_FIRST_HANDED_IN} is no socket: {error.strerror or error}; unset it"
        raise ConfigurationError("LISTEN_FDS", problem) from None
    is_listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if listener.family not in _FAMILIES or listener.type != socket.SOCK_STREAM or not is_listening:
        listener.close()
        problem = "the socket must be a listening stream: ListenStream= and Accept=no in its unit"
        raise ConfigurationError("LISTEN_FDS", problem)
    listener.set_inheritable(False)
    return listener


def listen(settings: Settings) -> socket.socket:
    """Open the listening socket; waits up to `IN_USE_SECONDS` for an address that is in use.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    deadline = time.monotonic() + IN_USE_SECONDS
    while True:
        try:
            return _listen(settings.bind, int(settings.socket_mode, 8))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                reason = error.strerror or error
                problem = f"cannot listen at {settings.bind}: {reason}; set another address"
                raise ConfigurationError(settings.name_of("bind"), problem) from None
        time.sleep(_POLL_SECONDS)


def _listen(bind: str, socket_mode: int) -> socket.socket:
    if bind.startswith("unix:"):
        return _listen_unix(Path(bind.removeprefix("unix:")), socket_mode)
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_unix(path: Path, mode: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Left behind by a master that was killed; one that is served answers.
        if path.is_socket() and listener.connect_ex(str(path)) != 0:
            path.unlink()
        listener.close()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        # Before it listens, so that no other mode ever lets anybody in.
        path.chmod(mode)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


@dataclass(frozen=True)
class Address:
    """The address of a listener, as text for people."""

    host: str
    """A host or an IP address without brackets; of a Unix socket, its path."""
    port: int | None
    """None: a Unix socket."""

    @classmethod
    def of(cls, listener: socket.socket) -> Address:
        """The address a listener is bound to."""
        name = listener.getsockname()
        if isinstance(name, bytes):
            # Abstract, as systemd writes it (unix(7)).
            name = os.fsdecode(b"@" + name[1:])
        return cls(name, None) if listener.family == socket.AF_UNIX else cls(name[0], name[1])

    @property
    def setting(self) -> str:
        """As `AFTERWARDS_BIND` has it."""
        if self.port is None:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        if self.port is None:
            return f"unix:{self.host}"
        return self._url(self.host) + (" (all interfaces)" if self.host in _LOOPBACK_OF else "")

    def for_curl(self) -> str:
        """The arguments with which curl opens it on this machine."""
        if self.port is None:
            return f"--unix-socket {shlex.quote(self.host)} http://localhost"
        return self._url(_LOOPBACK_OF.get(self.host, self.host))

    def _url(self, host: str) -> str:
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
