"""The hosts of one executor: which takes a call, when a fresh one is started, which retires."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from time import monotonic, sleep
from typing import Final, Protocol

from afterwards_executors.frames import Setup, encode_call
from afterwards_executors.hosts import orphans
from afterwards_executors.hosts.calls import HostedCall
from afterwards_executors.hosts.host import Host, HostOwner
from afterwards_executors.hosts.process import HostProcess
from afterwards_executors.hosts.settings import FRAME_MARGIN_BYTES, HostSettings
from afterwards_executors.hosts.starter import Starter
from afterwards_executors.hosts.wear import is_worn_out

SUSPECT_HOSTS: Final = 2
"""So many hosts at a time have calls that may share theirs with few others, or none."""

RESTART_SECONDS: Final = 1.0
"""A host that is to be kept, and did not come to be ready, is replaced after this pause."""

ORPHAN_SECONDS: Final = 0.05
"""The time after which it is checked whether killed orphans have ended."""

LOOK_SECONDS: Final = 5.0
"""The period in which silent hosts are looked after."""


class CrewOwner(HostOwner, Protocol):
    """The part of the executor that its crew speaks to."""

    def cannot_start(self, calls: Sequence[HostedCall], error: Exception) -> None:
        """The host that these calls were given to could not be started."""


class Crew:
    """Belongs to the executor's event loop.

    Args:
        slots: calls at a time, of all hosts that are not for suspects.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        kind: str,
        slots: int,
        settings: HostSettings,
        owner: CrewOwner,
    ) -> None:
        self._loop = loop
        self._kind = kind
        self.slots = slots
        """May change at any time: calls that are too many then go on."""
        self._settings = settings
        self._owner = owner
        self._hosts: list[Host] = []
        """The warmest, which ended a call last, at the end."""
        self._starter = Starter(f"host-starter-{kind}")
        self.generation = 0
        self.reserve = 0
        """Slots beyond the others, for calls of this generation while earlier ones hold all."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False
        if settings.adopts_orphans:
            orphans.adopt_orphans()

    # -- hosts for calls -----------------------------------------------------------------------

    def host_for(self, crowd: int | None) -> Host | None:
        """A host with room for a call of this crowd, started if need be; None: it has to wait.

        Raises:
            RuntimeError, MemoryError: none can be started.
        """
        if crowd is not None and self._kind != "process":
            return self._host_for_suspects(crowd)
        hosts = [host for host in self._hosts if host.crowd is None]
        if sum(len(host.calls) for host in hosts) >= self.slots + self.reserve:
            return None
        most = 1 if self._kind == "process" else self.slots
        for host in reversed(hosts):
            if len(host.calls) < most and host.takes_calls():
                return host
        return self._start(None)

    def _host_for_suspects(self, crowd: int) -> Host | None:
        hosts = [host for host in self._hosts if host.crowd is not None and not host.is_retiring]
        for host in hosts:
            if host.crowd == crowd and len(host.calls) < crowd and host.takes_calls():
                return host
        for host in hosts:
            if not host.calls:
                host.crowd = crowd
                return host
        return self._start(crowd) if len(hosts) < SUSPECT_HOSTS else None

    def host_of(self, call: HostedCall) -> Host | None:
        """The host that was given this call; None: it waits for one, or is over."""
        return next((host for host in self._hosts if call.number in host.calls), None)

    def keep_ready(self) -> None:
        """Start as many hosts as are to be kept."""
        if self._is_closing:
            return
        fresh = [h for h in self._hosts if h.crowd is None and not h.is_retiring]
        try:
            for _ in range(self._settings.keep - len(fresh)):
                self._start(None)
        except (RuntimeError, MemoryError):
            self._keep_ready_later()

    def _keep_ready_later(self) -> None:
        if self._settings.keep and not self._is_closing:
            self._loop.call_later(RESTART_SECONDS, self.keep_ready)

    def _start(self, crowd: int | None) -> Host:
        host = Host(
            self._loop,
            self._kind,
            self._settings,
            self._owner,
            generation=self.generation,
            crowd=crowd,
        )
        setup = Setup(
            parent=os.getpid(),
            kind=self._kind,
            sys_path=sys.path,
            max_frame_bytes=self._settings.max_value_bytes + FRAME_MARGIN_BYTES,
            blocked_seconds=self._settings.blocked_seconds,
            is_terminal=self._settings.is_terminal,
            prepare=encode_call(*prepare) if (prepare := self._settings.prepare) else None,
            cluster=self._settings.cluster if self._kind == "dask" else None,
        )

        def started(process: HostProcess | Exception) -> None:
            # RuntimeError: the loop is closed.
            self._loop.call_soon_threadsafe(self._adopt, host, process)

        try:
            if self._timer is None:
                self._timer = self._loop.call_later(LOOK_SECONDS, self._look_after)
            self._starter.start(setup, self._settings.environment, started)
        except BaseException:
            host.abandon()
            raise
        self._hosts.append(host)
        return host

    def _adopt(self, host: Host, process: HostProcess | Exception) -> None:
        error = process if isinstance(process, Exception) else None
        if isinstance(process, HostProcess):
            if not self._starter.take(process):
                return  # this executor has been shut down
            try:
                host.adopt(process)
            except (OSError, MemoryError) as raised:
                error = raised
        if error is not None:
            calls = host.abandon()
            self._hosts.remove(host)
            self._keep_ready_later()
            self._owner.cannot_start(calls, error)

    # -- hosts that go -------------------------------------------------------------------------

    def remove(self, host: Host) -> None:
        """It has ended."""
        self._hosts.remove(host)
        self._end_orphans()
        if host.is_ready:
            self.keep_ready()
        else:
            self._keep_ready_later()

    def renew(self, settings: HostSettings) -> None:
        """Have further calls run in fresh hosts."""
        self._settings = settings
        self.generation += 1
        for host in list(self._hosts):
            host.retire()
        earlier = self.hosts_of(self.generation - 1)
        self.reserve = int(sum(len(host.calls) for host in earlier) >= self.slots)
        self.keep_ready()

    def hosts_of(self, latest: int) -> list[Host]:
        """The hosts of this generation and of those before it, but for suspects' hosts."""
        return [h for h in self._hosts if h.generation <= latest and h.crowd is None]

    def all_hosts(self) -> list[Host]:
        """All hosts, as they are now. From any thread."""
        return list(self._hosts)

    def look_at_reserve(self) -> None:
        """Take the reserve back once earlier generations leave a slot free. Cheap otherwise."""
        if self.reserve:
            earlier = self.hosts_of(self.generation - 1)
            self.reserve = int(sum(len(host.calls) for host in earlier) >= self.slots)

    def wind_up(self) -> None:
        """Let all calls see that they had better end."""
        for host in self._hosts:
            host.wind_up()

    def retire_if_worn(self, host: Host, *, is_worn: bool) -> None:
        """Have a host take no more calls if it has run many, or if something has run out in it."""
        most = self._settings.max_calls
        if (is_worn or (most is not None and host.served >= most)) and not host.is_retiring:
            host.retire()
            self.keep_ready()
        elif host in self._hosts and not host.calls:
            self._hosts.remove(host)
            self._hosts.append(host)

    def end_all(self, seconds: float) -> None:
        """Kill the hosts that run calls, and let the others end."""
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        for host in list(self._hosts):
            if host.calls:
                host.kill("was ended")
            else:
                host.leave(seconds)

    def is_empty(self) -> bool:
        """True if all hosts have ended."""
        return not self._hosts

    def close(self, timeout_seconds: float) -> None:
        """End the thread that starts hosts, and what those have left. Not on the event loop."""
        deadline = monotonic() + timeout_seconds
        self._starter.close(timeout_seconds)
        while self._settings.adopts_orphans and orphans.end_orphans() and monotonic() < deadline:
            sleep(ORPHAN_SECONDS)

    def overdue(self) -> list[Host]:
        """Hosts with calls that go on although their time is up; the longest overdue first."""
        hosts = [host for host in self._hosts if host.overdue_at is not None]
        return sorted(hosts, key=lambda host: host.overdue_at or 0.0)

    def _look_after(self) -> None:
        self._timer = None
        if not self._hosts:
            return
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look_after)
        for host in list(self._hosts):
            host.end_if_hung()
        self._end_orphans()
        self._retire_idle()
        self._retire_worn()

    def _end_orphans(self) -> None:
        if self._settings.adopts_orphans and orphans.end_orphans() and not self._is_closing:
            # They end in a moment, and may leave others.
            self._loop.call_later(ORPHAN_SECONDS, self._end_orphans)

    def _retire_idle(self) -> None:
        before = monotonic() - self._settings.idle_seconds
        idle = [
            h for h in self._hosts if not h.calls and not h.is_retiring and h.idle_since < before
        ]
        kept = len([h for h in self._hosts if h.crowd is None and not h.is_retiring])
        for host in idle:
            if host.crowd is None:
                if kept <= self._settings.keep:
                    continue
                kept -= 1
            host.retire()

    def _retire_worn(self) -> None:
        for host in self._hosts:
            # One at a time: each has to be replaced.
            if not host.is_retiring and is_worn_out(
                host.pid or 0, self.slots, self._settings.max_memory_bytes
            ):
                host.retire()
                self.keep_ready()
                return
