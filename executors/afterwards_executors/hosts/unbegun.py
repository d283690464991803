"""The calls of one host that are not known to have begun: they wait, or have only just begun.

The begin of a call is not told. Most are over before anybody needs to know, and for the others it
is looked at the host's board every `LOOK_SECONDS`, as long as there are any.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from afterwards_executors.board import Begun
from afterwards_executors.hosts.calls import HostedCall

LOOK_SECONDS: Final = 0.005
"""A call's clock may begin so much later than the call."""


class Unbegun:
    """Belongs to the executor's event loop.

    Args:
        begun: called with each call that is seen to have begun.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, begun: Callable[[HostedCall], None]
    ) -> None:
        self._loop = loop
        self._begun = begun
        self._read: Callable[[], Begun] | None = None
        self._calls: deque[HostedCall] = deque()
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.given = 0
        """The number of calls that the host was given."""

    def add(self, call: HostedCall) -> None:
        """The host was given the call, after all others."""
        self.given += 1
        call.place = self.given
        self._calls.append(call)
        if self._since is None:
            self._since = monotonic()
        self._look_soon()

    def open(self, read: Callable[[], Begun]) -> None:
        """The host takes calls, and this reads its board."""
        self._read = read
        self._since = monotonic() if self._calls else None
        self._look_soon()

    def close(self) -> None:
        """Look for the last time: the host is gone."""
        self.look()
        self._read = None
        if self._timer is not None:
            self._timer.cancel()

    def silent_seconds(self) -> float:
        """For how long the host, which takes calls, has not begun with one."""
        return 0.0 if self._since is None or self._read is None else monotonic() - self._since

    def ended(self, call: HostedCall) -> None:
        """The call is over."""
        if call.has_begun:
            return
        call.request = b""
        if self._calls and self._calls[0] is call:
            self._calls.popleft()
            self._since = monotonic() if self._calls else None
        else:
            self.look()  # those before it have begun as well

    def look(self) -> None:
        """See which have begun."""
        if self._read is None or not self._calls:
            return
        kept_seconds, calls = self._read()
        now = monotonic()
        while self._calls and self._calls[0].place <= calls:
            call = self._calls.popleft()
            call.begin(now, kept_seconds)
            self._since = now if self._calls else None
            self._begun(call)

    def _look_soon(self) -> None:
        if self._timer is None and self._read is not None and self._calls:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self.look()
        self._look_soon()
