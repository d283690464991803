"""Time limits: the end of overdue calls, and of those that share a host with them.

| kind | a call whose time is up |
|---|---|
| process | is killed with its host, in which it is alone |
| async | is cancelled; its clock has stood while its event loop was kept from its work |
| thread | is asked to stop; it cannot be stopped |

One that goes on all the same is overdue: its slot counts as stuck, its host takes no more calls,
and its future is resolved when it has ended. Its host is ended when only overdue calls are left in
it, at the latest after `HostSettings.overdue_seconds`.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from afterwards_executors.calls import Calls, time_out_of
from afterwards_executors.frames import Kind, frame
from afterwards_executors.hosts.calls import HostedCall
from afterwards_executors.hosts.crew import Crew
from afterwards_executors.hosts.host import SILENT, Host
from afterwards_executors.hosts.settings import HostSettings

STOP_SECONDS: Final = 1.0
"""The time in which a cancelled coroutine has to clean up before it counts as overdue."""

OVERDUE_HOSTS: Final = 2
"""So many hosts with overdue calls there may be; then the first of them is ended."""

_COARSE_SECONDS: Final = 0.002
"""Timers of event loops may be early by this."""


class TimeLimits:
    """Belongs to the executor's event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        kind: str,
        settings: HostSettings,
        calls: Calls,
        crew: Crew,
    ) -> None:
        self._loop = loop
        self._kind = kind
        self._settings = settings
        self._calls = calls
        self._crew = crew
        self._overdue: set[HostedCall] = set()

    def overdue(self) -> int:
        """The number of calls that go on after their time. From any thread."""
        return len(self._overdue)

    def begin(self, call: HostedCall) -> None:
        """The call's clock runs."""
        if call.work.timeout_seconds is not None and call.verdict is None:
            try:
                call.timer = self._loop.call_later(call.work.timeout_seconds, self._is_up, call)
            except MemoryError:
                # It runs, and without a limit it might do so for ever.
                self._loop.call_soon(self.begin, call)

    def forget(self, call: HostedCall) -> None:
        """The call is over."""
        call.disarm()
        self._overdue.discard(call)

    def ended_in(self, host: Host) -> None:
        """A call of this host is over; others may be left that should be."""
        if host.overdue_at is not None:
            self._end_if_only_overdue(host)

    def expect_end(self, call: HostedCall) -> None:
        """The call was told to stop, and should soon."""
        call.disarm()
        call.timer = self._loop.call_later(STOP_SECONDS, self._goes_on, call)

    # -- the time is up ------------------------------------------------------------------------

    def _is_up(self, call: HostedCall) -> None:
        host = self._crew.host_of(call)
        if host is None:
            return
        if self._kind == "process":
            if self._calls.settle(call, time_out_of(call)):
                host.kill("was ended", call)
        elif self._kind == "thread":
            if self._calls.settle(call, time_out_of(call)):
                host.send(frame(Kind.STOP, call.number))
                self._goes_on(call)
        elif host.blocker is call:
            self._end_blocked(host, call)
        else:
            # Its own loop may have been kept from it.
            host.ping(call)
            call.timer = self._loop.call_later(self._settings.silent_seconds, self._is_silent, call)

    def alive(self, host: Host, call: HostedCall | None, kept_seconds: float) -> None:
        """The loop has its turn again, after all in all so many seconds without."""
        if call is None or call.verdict is not None or call.started_at is None:
            return
        call.disarm()
        limit = call.work.timeout_seconds
        assert limit is not None
        ran = monotonic() - call.started_at - (kept_seconds - call.kept_before)
        if ran < limit - _COARSE_SECONDS:
            call.timer = self._loop.call_later(limit - ran, self._is_up, call)
        elif self._calls.settle(call, time_out_of(call)):
            host.send(frame(Kind.STOP, call.number))
            self.expect_end(call)

    def blocked(self, host: Host, call: HostedCall | None) -> None:
        """The call keeps the loop of its host."""
        limit = None if call is None else call.work.timeout_seconds
        if call is not None and limit is not None and call.run_seconds >= limit:
            self._end_blocked(host, call)

    def _end_blocked(self, host: Host, call: HostedCall) -> None:
        if self._calls.settle(call, time_out_of(call)):
            host.kill("was ended", call)

    def _is_silent(self, call: HostedCall) -> None:
        """Its loop has not answered for long."""
        host = self._crew.host_of(call)
        if host is None or call.verdict is not None:
            return
        if host.blocker is call or host.begun_calls() == [call]:
            self._end_blocked(host, call)
        elif host.blocker is None:
            # Not even its watchdog has said who it is: it is one of those in it.
            host.kill(SILENT)
        else:
            # That call has a limit of its own, and the clocks of the others stand.
            call.timer = self._loop.call_later(
                self._settings.blocked_seconds, self._is_silent, call
            )

    # -- what goes on all the same -------------------------------------------------------------

    def _goes_on(self, call: HostedCall) -> None:
        host = self._crew.host_of(call)
        if call.done() or host is None:
            return
        call.is_overdue = True
        self._overdue.add(call)
        if host.overdue_at is None:
            host.overdue_at = monotonic()
        host.retire()
        call.disarm()
        call.timer = self._loop.call_later(self._settings.overdue_seconds, self._end, host, call)
        self._end_if_only_overdue(host)
        others = self._crew.overdue()
        if len(others) > OVERDUE_HOSTS:
            first = others[0]
            self._end(first, next(one for one in first.calls.values() if one.is_overdue))

    def _end_if_only_overdue(self, host: Host) -> None:
        if host.calls and all(call.is_overdue for call in host.calls.values()):
            self._end(host, next(iter(host.calls.values())))

    def _end(self, host: Host, call: HostedCall) -> None:
        host.kill("was ended", call)
