"""The calls of all stations of one Dask worker, and their lines to who has submitted them.

    Dask --order--> supervise, in a thread of Dask's --> station --> outcome, by the relay
                                     |
                                     `-- until then: a lease, and the words of both sides

A call goes on while its submitter says so (RUNNING, LEASE). Each RUNNING bears the moment at which
it was sent, by the clock of this process, and its answer extends the leases from that moment on. So
an answer that was held up on its way extends nothing, and the submitter knows when the last lease
is over that it has given.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from distributed import get_worker

from afterwards_executors.base import Outcome, Work
from afterwards_executors.cluster.errand import TO_CLIENT, TO_WORKER, About, Order
from afterwards_executors.cluster.guard import Guard
from afterwards_executors.cluster.settings import StationSettings
from afterwards_executors.cluster.station import Station
from afterwards_executors.frames import encode_outcome
from afterwards_executors.hosts.loop import own_loop

if TYPE_CHECKING:
    from distributed.worker import Worker

log = logging.getLogger("afterwards.station")

EXTENSION: Final = "afterwards"

ANNOUNCE_SECONDS: Final = 0.02
"""Calls that are over sooner are not told of: their outcome says it all."""

RENEWALS_A_LEASE: Final = 5

_REMEMBERED: Final = 10_000
"""Calls that are not to begin any more, and names with a fence."""

LEASE_LOST: Final = "its submitter was not heard of any more"


class _Running:
    """A call of a station."""

    def __init__(self, order: Order, station: Station) -> None:
        self.order = order
        self.station = station
        self.future: Future[Outcome] | None = None
        self.lease_until = monotonic() + station.settings.lease_seconds
        self.over = threading.Event()
        self.answers: dict[int, Callable[[bytes], None]] = {}
        self.numbers = count(1)
        self.stop_reason: str | None = None

    @property
    def id(self) -> tuple[str, int]:
        """The call, among all of this worker."""
        return self.order.client, self.order.number

    def stop(self, reason: str) -> None:
        """End it, soon. From any thread."""
        self.stop_reason = self.stop_reason or reason
        if self.future is not None:
            self.station.executor.cancel(self.future, self.stop_reason, by_force=True)


class Office:
    """One for each Dask worker. `run` and `close` block; all else is called on Dask's event loop.

    Raises:
        RuntimeError, OSError, MemoryError: threads, descriptors or memory have run out.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._loop, self._stop_loop = own_loop("afterwards-station")
        try:
            self._guard = Guard()
        except BaseException:
            self._stop_loop(1.0)
            raise
        self._lock = threading.Lock()
        self._stations: dict[str, Station] = {}
        self._calls: dict[tuple[str, int], _Running] = {}
        self._refused: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._fences: OrderedDict[str, int] = OrderedDict()
        self._is_announcing = False
        self._renewal: asyncio.TimerHandle | None = None
        worker.stream_handlers[TO_WORKER] = self._hear
        worker.handlers["afterwards_fence"] = self._fence

    # -- stations ------------------------------------------------------------------------------

    def open(self, settings: StationSettings) -> Station:
        """Open a station. Blocks for a moment. Raises what `Station` raises."""
        station = Station(settings, self._worker.state.nthreads, self._loop)
        self._stations[settings.gate] = station
        self._loop.call_soon_threadsafe(self._keep_renewing)
        return station

    def close(self, gate: str) -> bool:
        """Close a station; True if it was the last one."""
        station = self._stations.pop(gate, None)
        if station is not None:
            station.close()
        if self._stations:
            return False
        self._stop_loop(1.0)
        self._guard.close()
        return True

    # -- calls ---------------------------------------------------------------------------------

    def run(self, order: Order) -> None:
        """Run a call to its end, unless it is not to begin any more."""
        station = self._stations.get(order.gate)
        if station is None:
            raise RuntimeError("this worker has closed what would run the call")
        call = _Running(order, station)
        with self._lock:
            if call.id in self._refused or order.attempt < self._fences.get(order.name, 0):
                return
            self._calls[call.id] = call
        try:
            call.future = station.executor.submit(self._work(call))
            if call.stop_reason is not None:
                call.stop(call.stop_reason)
            if not self._is_announcing:
                self._is_announcing = True
                self._loop.call_soon_threadsafe(self._announce_later)
            outcome = call.future.result()
        finally:
            with self._lock:
                del self._calls[call.id]
            call.over.set()
        self._tell(call, About.ENDED, _encoded(outcome))

    def _work(self, call: _Running) -> Work:
        order = call.order

        def tell_line(about: str, line: str) -> None:
            self._tell(call, about, line.encode(errors="replace"))

        return Work(
            supervise,
            (order.call,),
            order.timeout_seconds,
            partial(self._tell, call, About.PROGRESS),
            partial(tell_line, About.PRINTED),
            on_question=partial(self._ask, call),
            on_logged=partial(tell_line, About.LOGGED),
        )

    def _ask(self, call: _Running, data: bytes, answer: Callable[[bytes], None] | None) -> None:
        number = 0
        if answer is not None:
            number = next(call.numbers)
            call.answers[number] = answer
        self._tell(call, About.ASKED, data, question=number)

    def _tell(self, call: _Running, about: str, data: bytes, **more: Any) -> None:
        """Say something of a call to its submitter. From any thread."""
        message = {"about": about, "number": call.order.number, "data": data, **more}
        self._send(call.order.client, message)

    def _send(self, client: str, message: dict[str, Any]) -> None:
        message = {"op": TO_CLIENT, "client": client, **message}
        self._worker.loop.add_callback(self._worker.batched_send, message)

    # -- leases, on the loop of the stations -----------------------------------------------------

    def _announce_later(self) -> None:
        self._loop.call_later(ANNOUNCE_SECONDS, self._announce)

    def _announce(self) -> None:
        self._is_announcing = False
        self._ask_for_leases(call for call in self._all() if call.future is not None)

    def _keep_renewing(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        leases = [one.settings.lease_seconds for one in list(self._stations.values())]
        if not leases:
            return
        pause = min(leases) / RENEWALS_A_LEASE
        self._renewal = self._loop.call_later(pause, self._keep_renewing)
        self._guard.extend(min(leases))
        now = monotonic()
        for call in self._all():
            if call.lease_until < now:
                call.stop(LEASE_LOST)
        self._ask_for_leases(self._all())

    def _ask_for_leases(self, calls: Iterable[_Running]) -> None:
        numbers: dict[str, list[int]] = {}
        for call in calls:
            numbers.setdefault(call.order.client, []).append(call.order.number)
        for client, running in numbers.items():
            self._send(client, {"about": About.RUNNING, "numbers": running, "at": monotonic()})

    def _all(self) -> list[_Running]:
        with self._lock:
            return list(self._calls.values())

    # -- what submitters say ---------------------------------------------------------------------

    def _hear(self, client: str, about: str, **message: Any) -> None:
        try:
            self._understand(client, about, message)
        except Exception:
            # What is raised here would end the worker's connection to its scheduler.
            log.exception("a message of %s about %r cannot be understood", client, about)

    def _understand(self, client: str, about: str, message: dict[str, Any]) -> None:
        if about == About.LEASE:
            self._extend(client, message)
        elif about == About.STOP:
            self._stop(client, message["number"])
        elif about == About.GONE:
            for call in self._all():
                if call.order.client == client:
                    call.stop(LEASE_LOST)
        else:
            for call in self._known(client, [message["number"]]):
                if about == About.ANSWER:
                    call.answers.pop(message["question"])(message["data"])
                elif about == About.WIND_UP and call.future is not None:
                    call.station.executor.wind_up_call(call.future)

    def _extend(self, client: str, message: dict[str, Any]) -> None:
        for call in self._known(client, message["numbers"]):
            until = message["at"] + call.station.settings.lease_seconds
            call.lease_until = max(call.lease_until, until)
        for call in self._known(client, message["unwanted"]):
            call.stop("its submitter does not know it any more")

    def _known(self, client: str, numbers: Iterable[int]) -> list[_Running]:
        with self._lock:
            return [c for number in numbers if (c := self._calls.get((client, number))) is not None]

    def _stop(self, client: str, number: int) -> None:
        with self._lock:
            call = self._calls.get((client, number))
            if call is None:
                _remember(self._refused, (client, number), None)
        if call is not None:
            call.stop("was stopped by its submitter")
        else:
            self._send(client, {"about": About.ABSENT, "number": number})

    async def _fence(self, name: str, attempt: int) -> str:
        """End the calls of this name before this one; returns once they are over."""
        with self._lock:
            _remember(self._fences, name, max(attempt, self._fences.get(name, 0)))
            earlier = [
                call
                for call in self._calls.values()
                if call.order.name == name and call.order.attempt < attempt
            ]
        for call in earlier:
            call.stop("a later call has taken its place")
        for call in earlier:
            await asyncio.to_thread(call.over.wait)
        return "OK"


def _remember(among: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    among[key] = value
    among.move_to_end(key)
    if len(among) > _REMEMBERED:
        among.popitem(last=False)


def _encoded(outcome: Outcome) -> bytes:
    return encode_outcome(outcome, outcome.cpu_seconds, outcome.peak_memory_bytes)


def office_of(worker: Worker) -> Office | None:
    """The office of a worker, if it has one."""
    found: Office | None = worker.extensions.get(EXTENSION)
    return found


def supervise(*order: Any) -> None:
    """Run a call in a host on this Dask worker. Dask calls it, in one of its threads."""
    office = office_of(get_worker())
    if office is None:
        raise RuntimeError("this worker has no station")
    office.run(Order(*order))
