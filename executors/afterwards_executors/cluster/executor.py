"""The executor of kind `dask`, in the process that submits. It imports nothing of Dask's."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Final
from uuid import uuid4

from afterwards_executors.base import Name, Outcome, Work
from afterwards_executors.calls import SHUT_DOWN, cancellation
from afterwards_executors.cluster.errand import Errand
from afterwards_executors.cluster.settings import MARGIN_SECONDS, ClusterSettings
from afterwards_executors.frames import Kind, encode_call, frame
from afterwards_executors.hosts.calls import HostedCall
from afterwards_executors.hosts.executor import HostExecutor
from afterwards_executors.hosts.host import LEAVE_SECONDS, Host
from afterwards_executors.hosts.settings import HostSettings

KIND: Final = "dask"

STOP_SHARE: Final = 0.5
"""The share of the time of a shutdown in which calls are stopped."""

NOT_CONNECTED: Final = "the Dask client is being started"

_numbers: Final = count(1)


class ClusterExecutor(HostExecutor):
    """Runs importable functions on a Dask cluster; see `afterwards_executors.base.HostedExecutor`.

    It has as many slots as the cluster can use, and none while there is no cluster.

    Args:
        slots: the most there are at any time.
        settings: with `cluster`; of the host with the Dask client.
        changed: called when the number of slots, or `problem`, has changed. Must not wait.

    Raises:
        ValueError: there is no slot, or no cluster.
    """

    def __init__(
        self,
        slots: int,
        settings: HostSettings,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(KIND, slots, self._kept(settings))
        self._most = slots
        # Of calls that have no name of their own: others may use the same cluster.
        self._prefix = uuid4().hex
        self._changed = changed
        self._calls.total = 0
        self.problem = NOT_CONNECTED
        """The reason for which no call runs, in words; empty: there is none."""

    def _kept(self, settings: HostSettings) -> HostSettings:
        if settings.cluster is None:
            raise ValueError("an executor on a cluster needs the settings of the cluster")
        # What hosts of calls wear out is the cluster's; this one has but to be there.
        return replace(settings, keep=1, max_calls=None, max_memory_bytes=None, prepare=None)

    @property
    def _cluster(self) -> ClusterSettings:
        assert self._settings.cluster is not None
        return self._settings.cluster

    # -- from any thread -----------------------------------------------------------------------

    def renew(self, settings: HostSettings | None = None) -> None:
        """See `HostedExecutor.renew`. The cluster gets further stations."""
        super().renew(None if settings is None else self._kept(settings))

    def _encoded(self, work: Work) -> bytes:
        name = work.name or Name("call", f"{self._prefix}-{next(_numbers)}", 1)
        call = encode_call(work.function, work.args)
        errand = Errand(call, work.timeout_seconds, work.crowd, name, work.placement)
        return pickle.dumps(errand, pickle.HIGHEST_PROTOCOL)

    def _new_call(self, work: Work, number: int, request: bytes) -> HostedCall:
        # Its time limit and its crowd are the cluster's business.
        return super()._new_call(replace(work, timeout_seconds=None, crowd=None), number, request)

    # -- the loop ------------------------------------------------------------------------------

    def cluster(self, host: Host, slots: int, problem: str) -> None:
        """See `HostOwner`."""
        if not host.is_retiring:
            self._have(slots, problem)

    def ended(self, host: Host, call: HostedCall, outcome: Outcome) -> None:
        """See `HostOwner`."""
        self._crew.look_at_reserve()
        self._finish(call, outcome)
        if self._is_closing:
            self._leave_if_empty()
        elif self._waiting:
            self._place()

    def died(self, host: Host, how: str) -> None:
        """See `HostOwner`."""
        if not self._is_closing and all(one.is_retiring for one in self._crew.all_hosts()):
            self._have(0, f"the process with the Dask client {how}; it is started again")
        super().died(host, how)

    def _have(self, slots: int, problem: str) -> None:
        slots = min(slots, self._most)
        if (slots, problem) != (self._calls.total, self.problem):
            self._calls.total = self._crew.slots = slots
            self.problem = problem
            self._changed()
            self._place()

    def _stop(self, call: HostedCall, by_force: bool) -> None:
        host = self._crew.host_of(call)
        if host is None or call.done():
            super()._stop(call, by_force)
        else:
            host.send(frame(Kind.STOP, call.number))

    def _fate_of(self, call: HostedCall, host: Host, how: str, begun: int) -> None:
        if not call.has_begun:
            super()._fate_of(call, host, how, begun)
            return
        # The cluster may run it until its lease is over; and that the Dask client has ended is no
        # call's doing.
        end = cancellation(f"released: the process with the Dask client {how}")
        seconds = self._cluster.station.lease_seconds + MARGIN_SECONDS
        self._loop.call_later(seconds, self._finish, call, end)

    # -- the end -------------------------------------------------------------------------------

    def _close(self, timeout_seconds: float) -> None:
        """Have the cluster stop all calls first, as nothing else does."""
        self._is_closing = True
        self._look()
        while self._waiting:
            self._finish(self._waiting.popleft(), SHUT_DOWN)
        for host in self._crew.all_hosts():
            for call in host.calls.values():
                host.send(frame(Kind.STOP, call.number))
        self._loop.call_later(timeout_seconds * STOP_SHARE, super()._close, timeout_seconds)
        self._leave_if_empty()

    def _leave_if_empty(self) -> None:
        if not any(host.calls for host in self._crew.all_hosts()):
            super()._close(LEAVE_SECONDS)
