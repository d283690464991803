"""The surroundings of calls: what a host sets up for them, and undoes of what they have done."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has it as `signal` alone
import contextlib
import fcntl
import os
import resource
import signal
import socket
from functools import partial
from typing import Final

from afterwards_executors.inside import streams
from afterwards_executors.inside.wire import Wire
from afterwards_executors.prctl import end_with_parent

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_FOR_THE_PARENT: Final = (signal.SIGUSR1, signal.SIGUSR2)
"""Their default meaning would end the host."""
_SPARE_DESCRIPTORS: Final = 200
"""Copies of the standard descriptors lie above this, where they are least likely to be closed."""

_DESCRIPTORS_SHARE: Final = 0.75
"""Descriptors are given out from below: when this one is in use, most are."""


def settle_in(parent: int, wire: Wire) -> None:
    """Make this process a host of `parent`."""
    # The thread that has started it lives as long as its process wants hosts. The kernel sees its
    # end even while a call keeps this process from seeing the end of the wire.
    end_with_parent(signal.SIGKILL, parent)
    _leave_stops_to_the_parent()
    os.register_at_fork(
        # What a call forks can be stopped. Until it is ready for a stop, the stop waits.
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, _STOP_SIGNALS),
        after_in_parent=_unblock_stops,
        after_in_child=partial(_be_a_fork, wire),
    )


def _leave_stops_to_the_parent() -> None:
    """Let signals pass by that ask for a stop, or ask something of the parent alone.

    They are often sent to every process of a service at once, and the parent then decides how long
    its calls may go on; it ends this process by a frame, or with SIGKILL.
    """
    for number in (*_STOP_SIGNALS, *_FOR_THE_PARENT):
        # Not SIG_IGN: programs that a call executes would inherit that, and could not be stopped.
        signal.signal(number, _pass)


def _pass(*_: object) -> None:
    """Do nothing."""


class ProcessState:
    """The directory, descriptors, signals and the like that calls of a host may change for others.

    `restore` it while the host runs none. To be made in the main thread, before the first call,
    and used there.
    """

    def __init__(self) -> None:
        self._home = os.getcwd()  # noqa: PTH109 - no pathlib in a small process
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._standard: list[tuple[int, int, tuple[int, int]]] = []
        for fd in range(3):
            with contextlib.suppress(OSError):
                spare = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _SPARE_DESCRIPTORS)
                self._standard.append((fd, spare, _identity(fd)))

    def is_short_of_descriptors(self) -> bool:
        """True if calls have kept most of the descriptors. From any thread."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return False
        # Only looked at: to take one would be seen by other threads that look at the same time.
        return _identity(int(soft * _DESCRIPTORS_SHARE)) != (0, 0)

    def restore(self) -> None:
        """Undo what earlier calls have done to the directory, descriptors, signals and sockets."""
        with contextlib.suppress(OSError):
            os.chdir(self._home)
        os.umask(self._umask)
        socket.setdefaulttimeout(None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (*_STOP_SIGNALS, *_FOR_THE_PARENT):
            # `signal.getsignal` looks for the name of each handler first: 2 us.
            if _signal.getsignal(number) is not _pass:
                signal.signal(number, _pass)
        for fd, spare, identity in self._standard:
            if _identity(fd) != identity and _identity(spare) == identity:
                os.dup2(spare, fd)


def _identity(fd: int) -> tuple[int, int]:
    """Which file it is; zeros: none."""
    try:
        found = os.fstat(fd)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _be_a_fork(wire: Wire) -> None:
    # An event loop's handlers write what they get into a pipe that the fork shares with this host.
    signal.set_wakeup_fd(-1)
    for number in (*_STOP_SIGNALS, *_FOR_THE_PARENT):
        signal.signal(number, signal.SIG_DFL)
    wire.leave_to_the_parent()
    streams.use_descriptors()
    _unblock_stops()


def _unblock_stops() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
