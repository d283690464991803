"""The socket on which a service manager such as systemd hears of its service: sd_notify(3)."""

from __future__ import annotations

import os
import socket
from typing import Final, Self

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_SEND_SECONDS: Final = 1.0


class NotifySocket:
    """A datagram socket of the service manager.

    Args:
        path: a path, or a name that begins with `@` in the abstract namespace (unix(7)).
        watchdog: the manager ends the service if it hears no `WATCHDOG=1` for a while.
    """

    def __init__(self, path: str, *, watchdog: bool) -> None:
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self.watchdog = watchdog

    @classmethod
    def handed_in(cls) -> Self | None:
        """The socket that the environment names; None: there is none.

        The variables are gone afterwards: neither gunicorn, which would call itself ready before
        anything serves, nor task code speaks for the service.
        """
        path, usec, pid = (os.environ.pop(name, "") for name in _VARIABLES)
        if not path:
            return None
        return cls(path, watchdog=bool(usec) and pid in ("", str(os.getpid())))

    def send(self, *assignments: str) -> None:
        """Send assignments such as `READY=1` as one message.

        Raises:
            OSError: it is not taken within a second, or descriptors have run out.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_SECONDS)
            sender.sendto("\n".join(assignments).encode(), self._address)
