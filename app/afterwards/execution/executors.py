"""The executors of one worker, and which of them runs an attempt.

Task types that come with the service are known to behave. Where they only wait they run in this
process, which costs no hand-over; everything else runs in hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.base import SUSPECTED
from afterwards_executors.base import Executor, HostedExecutor, HostView
from afterwards_executors.hosts.crew import SUSPECT_HOSTS
from afterwards_executors.hosts.settings import HostSettings


class Executors:
    """By kind, hosts and in this process. May be used from any thread.

    Args:
        hosted: run any attempt.
        in_process: run the attempts of `trusted` types; a kind that is missing runs in hosts.
        trusted: names of the task types that may run in this process.
    """

    def __init__(
        self,
        hosted: Mapping[str, HostedExecutor],
        in_process: Mapping[str, Executor],
        trusted: Collection[str],
    ) -> None:
        self._hosted = hosted
        self._in_process = in_process
        self._trusted = frozenset(trusted)
        self._is_started = False

    def start(self) -> None:
        """Start all. Hosts are looked after by the event loop of this thread."""
        self._is_started = True
        for executor in self._all():
            executor.start()

    def of(self, claim: Claim) -> Executor:
        """The one that runs attempts at this claim's task.

        Raises:
            KeyError: there is no such kind here.
        """
        if claim.type in self._trusted and claim.executor in self._in_process:
            return self._in_process[claim.executor]
        return self._hosted[claim.executor]

    def slots(self, is_resting: Callable[[str], bool]) -> Mapping[str, int]:
        """Usable slots by kind, none of a kind that rests.

        A stuck call in a host holds its claim until it has ended, so the registry counts it. One in
        this process has been reported, and its slot is left out.
        """
        usable = {
            kind: 0 if is_resting(kind) else executor.slots().total - self._stuck_nearby(kind)
            for kind, executor in self._hosted.items()
        }
        return {**usable, SUSPECTED: SUSPECT_HOSTS}

    def stuck(self) -> Mapping[str, int]:
        """Slots by kind that hold a call which goes on although it should not."""
        return {
            kind: executor.slots().stuck + self._stuck_nearby(kind)
            for kind, executor in self._hosted.items()
        }

    def hosts(self) -> list[HostView]:
        """The hosts of all kinds."""
        return [host for executor in self._hosted.values() for host in executor.hosts()]

    def unstoppable(self) -> frozenset[str]:
        """Kinds whose attempts are asked to stop, and end by themselves or at their limit."""
        return frozenset(kind for kind, executor in self._hosted.items() if not executor.can_stop)

    def renew(self, hosts: HostSettings) -> None:
        """Run further attempts in fresh hosts; those that run go on where they are."""
        for executor in self._hosted.values():
            executor.renew(hosts)

    def wind_up(self) -> None:
        """Let attempts in hosts see that this process is about to stop."""
        if self._is_started:
            for executor in self._hosted.values():
                executor.wind_up()

    def shutdown(self, timeout_seconds: float) -> None:
        """Shut all down, each within so many seconds. Blocks; not on the event loop."""
        for executor in self._all():
            executor.shutdown(timeout_seconds)

    def _stuck_nearby(self, kind: str) -> int:
        executor = self._in_process.get(kind)
        return 0 if executor is None else executor.slots().stuck

    def _all(self) -> Iterable[Executor]:
        yield from self._in_process.values()
        yield from self._hosted.values()
