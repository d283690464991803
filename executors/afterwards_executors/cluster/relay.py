"""The part in Dask's scheduler: it passes messages on, and keeps Dask from running a call twice.

Dask runs a task again on another worker when its own leaves, whether that has begun or not: it is
meant for functions without effects. `allowed-failures: 0` ends that for workers that die, and not
for those that are retired, by an adaptive cluster for one. So whatever of ours Dask takes from a
worker is given resources that no worker has, and its submitter is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from distributed.diagnostics.plugin import SchedulerPlugin

from afterwards_executors.cluster.errand import TO_CLIENT, TO_WORKER, About, key_of
from afterwards_executors.cluster.settings import RESOURCE_PREFIX, installed_version

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, TaskState, WorkerState

log = logging.getLogger("afterwards.relay")

NAME: Final = "afterwards-relay"

FENCED: Final = 200
"""So many numbers before a call are looked at."""

_NOWHERE: Final = {f"{RESOURCE_PREFIX}nowhere": 1.0}


class Relay(SchedulerPlugin):
    """Belongs to the scheduler's event loop.

    Args:
        version: of Afterwards, where the relay comes from.
    """

    idempotent = True

    def __init__(self, version: str) -> None:
        self.name = NAME
        self._version = version
        self._scheduler: Scheduler
        self._departed_at = 0.0
        self._gates: dict[str, tuple[str, float]] = {}
        """The gates that submitters have asked for, and how long they are kept."""
        self._closing: set[asyncio.Task[Any]] = set()

    async def start(self, scheduler: Scheduler) -> None:
        """Take part in the scheduler.

        Raises:
            RuntimeError: another version of Afterwards is installed there.
        """
        here = installed_version()
        if here != self._version:
            raise RuntimeError(f"the scheduler has afterwards {here}, the service {self._version}")
        self._scheduler = scheduler
        # Those that left a scheduler before this one may not know it yet.
        self._departed_at = monotonic()
        scheduler.stream_handlers[TO_CLIENT] = self._to_client
        scheduler.stream_handlers[TO_WORKER] = self._to_worker
        scheduler.handlers["afterwards_state"] = self._state
        scheduler.handlers["afterwards_fence"] = self._fence
        scheduler.handlers["afterwards_opened"] = self._opened

    # -- messages ------------------------------------------------------------------------------

    def _to_client(self, client: str, worker: str, **message: Any) -> None:
        stream = self._scheduler.client_comms.get(client)
        if stream is not None and not stream.closed():
            stream.send({"op": TO_CLIENT, "worker": worker, **message})

    def _to_worker(
        self, client: str, about: str, worker: str | None = None, **message: Any
    ) -> None:
        key = message.pop("key", None)
        if worker is None:
            task = self._scheduler.tasks.get(key)
            worker_state = None if task is None else task.processing_on
            worker = None if worker_state is None else worker_state.address
        stream = self._scheduler.stream_comms.get(worker or "")
        if stream is not None:
            stream.send({"op": TO_WORKER, "client": client, "about": about, **message})
        elif about == About.STOP:
            # No worker has it, and once its submitter lets go of it none will.
            self._to_client(client, "", about=About.ABSENT, number=message["number"])

    # -- what submitters ask -------------------------------------------------------------------

    async def _state(self, gate: str, client: str, keep_seconds: float) -> dict[str, Any]:
        """The part of the cluster that is there for calls of this gate, and of this submitter.

        Args:
            keep_seconds: stations of the gate are closed so long after its last submitter has left.
        """
        self._gates[client] = gate, keep_seconds
        workers = [one for one in self._scheduler.workers.values() if one.status.name == "running"]
        ours = [one for one in workers if gate in one.resources]
        return {
            "allowed_failures": self._scheduler.allowed_failures,
            "threads": sum(one.nthreads for one in ours),
            "workers": [(one.address, str(one.name), one.host) for one in ours],
            "unplaced": sum(_is_wanted_by(client, task) for task in self._scheduler.unrunnable),
            "others": len(workers) - len(ours),
        }

    async def _fence(self, group: str, name: str, attempt: int) -> dict[str, Any]:
        """End the calls of this name before this one, and keep them from beginning.

        Returns:
            The number of workers that have not confirmed it, and for how long no worker has left,
            in seconds.
        """
        for earlier in range(max(1, attempt - FENCED), attempt):
            task = self._scheduler.tasks.get(key_of(group, name, earlier))
            if task is not None and task.processing_on is None:
                # It waits for a worker, and one may come that knows nothing of the fence.
                task.resource_restrictions = _NOWHERE
        workers = [one.address for one in self._scheduler.workers.values() if _has_station(one)]
        answers = await self._scheduler.broadcast(
            msg={"op": "afterwards_fence", "name": name, "attempt": attempt},
            workers=workers,
            on_error="return",
        )
        return {
            "unconfirmed": sum(answer != "OK" for answer in answers.values()),
            "quiet_seconds": monotonic() - self._departed_at,
        }

    async def _opened(self, worker: str) -> None:
        """A worker has got a station: calls that found none may be given to it."""
        state = self._scheduler.workers.get(worker)
        if state is not None:
            runnable = self._scheduler.bulk_schedule_unrunnable_after_adding_worker(state)
            self._scheduler.transitions(runnable, stimulus_id=f"{NAME}-opened-{monotonic()}")

    # -- what the scheduler does ---------------------------------------------------------------

    def transition(
        self, key: Any, start: str, finish: str, *args: Any, stimulus_id: str, **kwargs: Any
    ) -> None:
        """Bar a call of ours that Dask has taken from its worker from all others."""
        if finish != "released" or start not in {"processing", "memory"}:
            return
        task = self._scheduler.tasks.get(key)
        if task is None or not task.who_wants or not _is_ours(task):
            return
        task.resource_restrictions = _NOWHERE
        for client in task.who_wants:
            self._to_client(client.client_key, "", about=About.BARRED, key=key)

    def remove_worker(
        self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **kwargs: Any
    ) -> None:
        """Remember that a worker has left: its calls may go on for a lease."""
        self._departed_at = monotonic()

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Tell the workers, and close stations that nothing submits to any more."""
        if (left := self._gates.pop(client, None)) is not None:
            gate, keep_seconds = left
            # Until then a submitter may come back, or another come.
            loop = asyncio.get_running_loop()
            loop.call_later(keep_seconds, lambda: self._close_if_unused(gate))
        for state in scheduler.workers.values():
            if _has_station(state):
                self._to_worker(client, About.GONE, state.address)

    def _close_if_unused(self, gate: str) -> None:
        used = {one for one, _ in self._gates.values()}
        if gate not in used and gate in self._scheduler.worker_plugins:
            closing = asyncio.create_task(
                self._scheduler.unregister_worker_plugin(comm=None, name=gate)
            )
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def valid_workers_downscaling(
        self, scheduler: Scheduler, workers: list[WorkerState]
    ) -> list[WorkerState]:
        """An adaptive cluster keeps the workers that run calls of ours."""
        return [one for one in workers if not any(map(_is_ours, one.processing))]


def _is_ours(task: TaskState) -> bool:
    return _any_of_ours(task.resource_restrictions or ())


def _is_wanted_by(client: str, task: TaskState) -> bool:
    return any(one.client_key == client for one in task.who_wants or ())


def _has_station(worker: WorkerState) -> bool:
    return _any_of_ours(worker.resources)


def _any_of_ours(resources: Iterable[str]) -> bool:
    return any(name.startswith(RESOURCE_PREFIX) for name in resources)
