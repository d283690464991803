"""The presence of a worker: that it is there, what it can run and what it holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from afterwards.registry.client.worker_side import ClaimHolder, CountsSource, SelfReporter, TaskCode
from afterwards.registry.protocol.base import HEARTBEAT_SECONDS
from afterwards.registry.protocol.requests import Beat, Join, WorkerReport

NEWS_SECONDS: Final = 0.5
"""The age that the HTTP metrics which other workers show may reach."""
REPORT_SECONDS: Final = 10.0
"""The period in which a worker tells of its process and its hosts, if those stay the same."""


class Presence:
    """The presence of one worker.

    Args:
        itself: has what it says of its process and its hosts; None: nothing.
    """

    def __init__(
        self,
        holder: ClaimHolder,
        counts: CountsSource,
        code: TaskCode,
        itself: SelfReporter | None,
    ) -> None:
        self._holder = holder
        self._counts = counts
        self._code = code
        self._itself = itself
        self.is_announced = True
        """True if the registry was told what this worker can run."""
        self._counts_sent = -1
        self._hosts_sent: Sequence[object] = ()
        self._report_due = 0.0
        self._last_beat = 0.0

    def announce(self, code: TaskCode) -> None:
        """Run this from now on. It is announced with the next `Join`."""
        self._code = code
        self.is_announced = False

    def begin(self) -> None:
        """Tell everything soon: the connection is a new one."""
        self._last_beat = self._report_due = 0.0

    def hurry(self) -> None:
        """Have the next beat due at once."""
        self._last_beat = 0.0

    def is_beat_due(self) -> bool:
        """True if it is time for a `Beat`."""
        since = time.monotonic() - self._last_beat
        news = self._counts.version != self._counts_sent
        return since >= (NEWS_SECONDS if news else HEARTBEAT_SECONDS)

    def join(self) -> Join:
        """The word on what this worker can run, and holds."""
        self.is_announced = True
        code, holder = self._code, self._holder
        return Join(
            holder.slots(),
            holder.held(),
            code.limits,
            code.generation,
            code.user_types,
            code.known_types,
        )

    def beat(self) -> Beat:
        """A sign of life, with what has changed."""
        self._last_beat = time.monotonic()
        self._counts_sent = self._counts.version
        holder = self._holder
        return Beat(
            holder.slots(),
            holder.stuck(),
            holder.held(),
            self._counts.counts(),
            self._code.generation,
            self._report_if_due(),
        )

    def _report_if_due(self) -> WorkerReport | None:
        if self._itself is None:
            return None
        hosts = self._itself.hosts()
        if hosts == self._hosts_sent and self._last_beat < self._report_due:
            return None
        self._hosts_sent, self._report_due = hosts, self._last_beat + REPORT_SECONDS
        return self._itself.report()
