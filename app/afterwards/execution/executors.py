"""The executors of one worker, and which of them runs an attempt.

Task types that come with the service are known to behave. Where they only wait they run in this
process, which costs no hand-over. Those that reach the outside run in a host of their own, which
has secrets. Everything else runs in hosts of task code.
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
        effects: runs the attempts of `effectful` types, and takes of the slots of its kind. None:
            there are no such types.
        effectful: names of the task types that reach the outside.
        cluster: what is wrong with the cluster of the executor `dask`; empty: nothing, or there is
            none.
    """

    def __init__(
        self,
        hosted: Mapping[str, HostedExecutor],
        in_process: Mapping[str, Executor],
        trusted: Collection[str],
        effects: HostedExecutor | None = None,
        effectful: Collection[str] = (),
        *,
        cluster: Callable[[], str] = str,
    ) -> None:
        self._hosted = hosted
        self._in_process = in_process
        self._trusted = frozenset(trusted)
        self._effects = effects
        self._effectful = frozenset(effectful)
        self.cluster_problem = cluster
        self._renewals = 0
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
        if self._effects is not None and claim.type in self._effectful:
            return self._effects
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
        stuck = {
            kind: executor.slots().stuck + self._stuck_nearby(kind)
            for kind, executor in self._hosted.items()
        }
        if self._effects is not None:
            stuck[self._effects.kind] += self._effects.slots().stuck
        return stuck

    def hosts(self) -> list[HostView]:
        """The hosts of all kinds."""
        of_task_code = [host for one in self._hosted.values() for host in one.hosts()]
        # A reload does not touch the service's own code, so that is of the latest generation.
        ours = () if self._effects is None else self._effects.hosts()
        return [*of_task_code, *(host._replace(generation=self._renewals) for host in ours)]

    def unstoppable(self) -> frozenset[str]:
        """Kinds whose attempts are asked to stop, and end by themselves or at their limit."""
        return frozenset(kind for kind, executor in self._hosted.items() if not executor.can_stop)

    def renew(self, hosts: HostSettings) -> None:
        """Run further attempts in fresh hosts; those that run go on where they are."""
        self._renewals += 1
        for executor in self._hosted.values():
            executor.renew(hosts)

    def wind_up(self) -> None:
        """Let attempts in hosts see that this process is about to stop."""
        if self._is_started:
            for executor in self._all_hosted():
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
        yield from self._all_hosted()

    def _all_hosted(self) -> Iterable[HostedExecutor]:
        yield from self._hosted.values()
        if self._effects is not None:
            yield self._effects
