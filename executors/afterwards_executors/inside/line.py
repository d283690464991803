"""The line of one call in a host to its submitter."""

from __future__ import annotations

import os

from afterwards_executors.frames import Kind, frame
from afterwards_executors.inside.wire import Wire
from afterwards_executors.progress import ProgressSender


class HostLine:
    """See `afterwards_executors.progress.Line`."""

    def __init__(self, wire: Wire, number: int) -> None:
        self.number = number
        """The call's, on the wire."""
        self.is_stop_asked = False
        self._wire = wire
        self._pid = os.getpid()
        self._progress: ProgressSender | None = None

    @property
    def is_stopping(self) -> bool:
        """True if the host is to be ended soon."""
        return self._wire.is_winding_up()

    def send_progress(self, data: bytes) -> None:
        """Send it, unless another comes soon."""
        # A fork shares no lock that would keep its words apart from ours, and no wire.
        if os.getpid() == self._pid:
            if self._progress is None:
                self._progress = ProgressSender(self._send)
            self._progress.send(data)

    def time_out_delay(self, seconds: float | None) -> None:
        """Send it."""
        if os.getpid() == self._pid:
            self._wire.delay(self.number, seconds)

    def close(self) -> None:
        """Send nothing more: what the call has left running must not cut into what comes."""
        if self._progress is not None:
            self._progress.close()

    def _send(self, data: bytes) -> bool:
        return self._wire.try_to_send(frame(Kind.PROGRESS, self.number, data))
