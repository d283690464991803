"""Messages to the service manager, such as systemd, about the service (sd_notify(3)).

READY=1                  a worker serves; and again after each reload
RELOADING=1              a look at the task modules begins
WATCHDOG=1               the master's loop turns and the registry gives signs of life
STOPPING=1               the stop begins
"""

from __future__ import annotations

import math
import time
from typing import Final

from afterwards.logs import get_logger
from afterwards.server.generations import Result
from afterwards.system.notify_socket import NotifySocket
from afterwards.system.trouble import Trouble

log = get_logger(__name__)

_BEAT_SECONDS: Final = 1.0


class ServiceManager:
    """A witness of the service's life, who tells it to the manager. No method raises.

    Args:
        socket: the manager's; None: there is no manager that listens.
    """

    def __init__(self, socket: NotifySocket | None) -> None:
        self._socket = socket
        self._is_ready = False
        self._is_stopping = False
        self._beaten_at = -math.inf
        self._unheard = Trouble(log, "the service manager cannot be told of the service")

    def ready(self) -> None:
        """Tell that the service serves. Cheap after the first time."""
        if not self._is_ready:
            self._is_ready = self._tell("READY=1")

    def alive(self) -> None:
        """Tell that the service lives; to be called while it does, at least every second."""
        if self._socket is None or not self._socket.watchdog:
            return
        now = time.monotonic()
        if now - self._beaten_at >= _BEAT_SECONDS:
            self._beaten_at = now
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Tell that the service stops; it is not ready again."""
        self._is_stopping = True
        self._tell("STOPPING=1")

    # -- as a witness of the looks at the task modules -----------------------------------------

    def open(self) -> None:
        """Looks can be asked for, which says nothing of the service."""

    def begun(self, _look: int) -> None:
        """Tell that the service reloads, unless it is not ready yet."""
        if self._is_ready and not self._is_stopping:
            # The manager's own clock, so that it can tell an earlier reload from the one it wants.
            self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def ended(self, _look: int, _result: Result) -> None:
        """Tell that the service has reloaded, or goes on as it was."""
        if self._is_ready and not self._is_stopping:
            self._is_ready = self._tell("READY=1")

    def _tell(self, *assignments: str) -> bool:
        """True if the manager has heard it, or there is none."""
        if self._socket is not None:
            with self._unheard.survived():
                self._socket.send(*assignments)
        return not self._unheard.is_on
