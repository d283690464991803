"""The calls of a host with a Dask client: which wait, which the cluster has, how they end."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from distributed import Future
from distributed.client import ClosedClientError
from distributed.scheduler import KilledWorker

from afterwards_executors.base import End, Outcome
from afterwards_executors.calls import SHUT_DOWN, cancellation
from afterwards_executors.cluster.call import ClusterCall
from afterwards_executors.cluster.errand import About, Errand
from afterwards_executors.cluster.session import LOOK_SECONDS, LOST, NOTHING, Cluster, Session
from afterwards_executors.cluster.settings import MARGIN_SECONDS
from afterwards_executors.frames import (
    NUMBER,
    Kind,
    decode_outcome,
    encode_outcome,
    frame,
)
from afterwards_executors.inside.wire import Wire

log = logging.getLogger(__name__)

AHEAD_SECONDS: Final = 0.1
AHEAD_MOST: Final = 16
AHEAD_LEAST: Final = 4
"""The work that waits in the cluster, so that no thread there waits for work: calls of so many
seconds a thread, at most so many calls a thread, and so many in all even where there is no thread,
as an adaptive cluster grows by the calls that wait in it."""

DISCONNECTED: Final = "released: the connection to the Dask scheduler was lost"
SILENT: Final = "released: its Dask worker was not heard of any more"
TAKEN_AWAY: Final = "released: its Dask worker was retired"


class ClusterCalls:
    """Belongs to the event loop."""

    def __init__(self, wire: Wire, lease_seconds: float) -> None:
        self._wire = wire
        self._lost_seconds = lease_seconds + MARGIN_SECONDS
        self._session: Session | None = None
        self._cluster = NOTHING
        self._calls: dict[int, ClusterCall] = {}
        self._by_key: dict[Any, ClusterCall] = {}
        self._waiting: dict[int, ClusterCall] = {}
        """Those that are next to be given to the cluster."""
        self._is_submitting = False
        self._winds_up = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._mean_seconds = math.inf
        self._empty = asyncio.Event()
        self._hears: dict[str, Callable[..., None]] = {
            About.ENDED: self._note_end,
            About.ABSENT: self._note_absence,
            About.PROGRESS: self._pass_on(Kind.PROGRESS),
            About.PRINTED: self._pass_on(Kind.PRINTED, b"\1"),
            About.LOGGED: self._pass_on(Kind.LOGGED),
            About.ASKED: self._ask,
        }

    # -- from the wire -------------------------------------------------------------------------

    def add(self, number: int, errand: Errand) -> None:
        """Give it to the cluster, with all others of this turn, as soon as there is one."""
        call = ClusterCall(number, errand)
        self._calls[number] = self._waiting[number] = call
        self._empty.clear()
        self._submit_soon()

    def stop(self, number: int) -> None:
        """End a call, wherever it is."""
        call = self._calls.get(number)
        if call is None or call.is_stopped:
            return
        call.is_stopped = True
        if not call.is_given:
            self._waiting.pop(number, None)
            self._end(call, SHUT_DOWN)
        elif self._session is not None and not call.is_lost:
            # The scheduler hears of it in this order: first who has it, then that it is not wanted.
            key = call.errand.key
            self._session.tell(About.STOP, None, key=key, number=number)
            self._release(call)
            # A worker that is frozen says nothing, and begins nothing before it has heard of it.
            loop = asyncio.get_running_loop()
            loop.call_later(2 * self._lost_seconds, self._end, call, SHUT_DOWN)

    def stop_all(self) -> None:
        """End all calls."""
        for number in list(self._calls):
            self.stop(number)

    def answer(self, number: int, question: int, data: bytes) -> None:
        """Pass the answer to a question on."""
        self._tell(number, About.ANSWER, question=question, data=data)

    def wind_up(self) -> None:
        """Let all calls see that they had better end."""
        self._winds_up = True
        for number in self._calls:
            self._tell(number, About.WIND_UP)

    def _tell(self, number: int, about: str, **message: Any) -> None:
        call = self._calls.get(number)
        if call is not None and call.worker is not None and self._session is not None:
            self._session.tell(about, call.worker, number=number, **message)

    async def ended(self) -> None:
        """Return once there are none."""
        if self._calls:
            await self._empty.wait()

    # -- the cluster ---------------------------------------------------------------------------

    def open(self, session: Session, cluster: Cluster) -> None:
        """There is a cluster."""
        self._session, self._cluster = session, cluster
        self._submit_soon()

    def close(self) -> None:
        """The cluster is lost. What it has been given may go on until its lease is over."""
        if self._session is None:
            return
        self._session = None
        for call in list(self._calls.values()):
            if call.is_given:
                self._lose(call, cancellation(DISCONNECTED))

    def slots(self, cluster: Cluster) -> int:
        """The number of calls that are well placed in a cluster as it is now.

        Calls that no worker can take do not keep others from those that are there.
        """
        self._cluster = cluster
        self._end_silent()
        if self._waiting:
            self._submit_soon()
        mean = max(self._mean_seconds, AHEAD_SECONDS / AHEAD_MOST)
        ahead = max(AHEAD_LEAST, math.ceil(cluster.threads * AHEAD_SECONDS / mean))
        aside = cluster.unplaced + len(self._waiting) if cluster.threads else 0
        return cluster.threads + ahead + aside

    def _end_silent(self) -> None:
        """End calls whose worker has been silent for longer than their lease."""
        before = monotonic() - self._lost_seconds
        for call in list(self._calls.values()):
            if call.worker and not call.is_lost and call.heard_at < before:
                self._end(call, cancellation(SILENT))

    def _submit_soon(self) -> None:
        if not self._is_submitting and self._session is not None:
            self._is_submitting = True
            asyncio.get_running_loop().call_soon(self._submit)

    def _submit(self) -> None:
        self._is_submitting = False
        session = self._session
        if session is None:
            return
        together: dict[Any, list[ClusterCall]] = {}
        for call in list(self._waiting.values()):
            errand = call.errand
            if self._workers_for(errand) == []:
                continue  # until there is one
            del self._waiting[call.number]
            if errand.name.number > 1:
                self._start(self._submit_behind_a_fence(session, call))
            else:
                together.setdefault((errand.crowd, errand.placement), []).append(call)
        for calls in together.values():
            self._give(session, calls)

    def _workers_for(self, errand: Errand) -> list[str] | None:
        """The addresses of the workers that may run it; None: any.

        Dask takes the name of a worker that is not there yet for that of a host, and any worker on
        that host for the one.
        """
        wanted = set(errand.placement.workers)
        if not wanted:
            return None
        return [one[0] for one in self._cluster.workers if not wanted.isdisjoint(one)]

    async def _submit_behind_a_fence(self, session: Session, call: ClusterCall) -> None:
        is_alone = False
        try:
            await session.fence(call.errand)
            is_alone = True
        except LOST as error:
            log.debug("a fence was not confirmed: %r", error)
            await asyncio.sleep(LOOK_SECONDS)
        if call.number not in self._calls:
            return  # stopped meanwhile
        if is_alone and session is self._session and self._workers_for(call.errand) != []:
            self._give(session, [call])
        else:
            self._waiting[call.number] = call
            self._submit_soon()

    def _give(self, session: Session, calls: list[ClusterCall]) -> None:
        numbers, errands = [c.number for c in calls], [c.errand for c in calls]
        try:
            futures = session.submit(numbers, errands, self._workers_for(errands[0]))
        except ClosedClientError:
            # The connection was lost just now. They are given to the next one.
            self._waiting |= {call.number: call for call in calls}
            return
        for call, future in zip(calls, futures, strict=True):
            call.future = future
            call.is_given = True
            self._by_key[call.errand.key] = call
            self._start(self._watch(call, future))

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, call: ClusterCall, future: Future[Any]) -> None:
        """See to what Dask says of a call; mostly its outcome has come before."""
        error = await future.exception()
        if call.future is not future or call.is_lost:
            return
        if future.status == "error":
            self._note_error(call, error)
        elif future.status == "finished":
            self._end(call, cancellation("released: it was not to begin any more"))
        # Else the connection was lost, and that is about to be seen.

    def _note_error(self, call: ClusterCall, error: BaseException) -> None:
        if not isinstance(error, KilledWorker):
            message = f"The Dask worker cannot run it: {type(error).__name__}: {error}"
            self._end(call, Outcome(End.FAILED, error=message, transient=True))
            return
        address = error.last_worker.address
        gone = f"The Dask worker that ran it, {address}, is gone"
        if call.worker is None:
            self._lose(call, Outcome(End.RELEASED, error=f"{gone}; it had hardly begun, if at all"))
            return
        neighbours = sum(one.worker == address for one in self._calls.values())
        is_alone = call.errand.crowd == 1
        self._lose(
            call,
            Outcome(
                End.LOST if is_alone else End.SUSPECTED,
                error=gone,
                transient=True,
                crowd=0 if is_alone else max(1, neighbours),
            ),
        )

    # -- what the cluster says -----------------------------------------------------------------

    def hear(self, about: str, worker: str, **message: Any) -> None:
        """A message from a Dask worker, or from the relay if `worker` is empty."""
        if about == About.RUNNING:
            self._lease(worker, message["numbers"], message["at"])
        elif about == About.BARRED:
            if (call := self._by_key.get(message["key"])) is not None:
                self._lose(call, cancellation(TAKEN_AWAY))
        else:
            call = self._calls.get(message["number"])
            # A call whose worker is retired may come to its end all the same.
            if call is not None and (not call.is_lost or about == About.ENDED):
                call.worker, call.heard_at = worker, monotonic()
                self._hears[about](call, **message)

    def _lease(self, worker: str, numbers: tuple[int, ...], at: float) -> None:
        wanted, unwanted = [], []
        for number in numbers:
            call = self._calls.get(number)
            if call is None or call.is_lost or call.is_stopped:
                unwanted.append(number)
            else:
                is_new, call.worker, call.heard_at = call.worker is None, worker, monotonic()
                wanted.append(number)
                if is_new and self._winds_up:
                    self._tell(number, About.WIND_UP)
        if self._session is not None:
            self._session.tell(About.LEASE, worker, numbers=wanted, unwanted=unwanted, at=at)

    def _note_end(self, call: ClusterCall, data: bytes, **_: Any) -> None:
        outcome = decode_outcome(data)
        if call.lost is not None and outcome.end is End.CANCELLED:
            self._end(call, call.lost)
            return
        if outcome.end is End.SUCCEEDED:
            before = outcome.run_seconds if self._mean_seconds == math.inf else self._mean_seconds
            self._mean_seconds = 0.9 * before + 0.1 * outcome.run_seconds
        self._over(call)
        self._wire.send(frame(Kind.ENDED, call.number, data))

    def _note_absence(self, call: ClusterCall, **_: Any) -> None:
        self._end(call, SHUT_DOWN)

    def _pass_on(self, kind: Kind, before: bytes = b"") -> Callable[..., None]:
        def pass_on(call: ClusterCall, data: bytes, **_: Any) -> None:
            self._wire.send(frame(kind, call.number, before + data))

        return pass_on

    def _ask(self, call: ClusterCall, data: bytes, question: int, **_: Any) -> None:
        self._wire.send(frame(Kind.ASKED, call.number, NUMBER.pack(question) + data))

    # -- the end -------------------------------------------------------------------------------

    def _lose(self, call: ClusterCall, outcome: Outcome) -> None:
        """End the call once its lease is over, wherever it may still run until then."""
        if not call.is_lost:
            call.lost = outcome
            self._release(call)
            asyncio.get_running_loop().call_later(self._lost_seconds, self._end, call, outcome)

    def _end(self, call: ClusterCall, outcome: Outcome) -> None:
        if call.number in self._calls:
            self._over(call)
            self._wire.send(frame(Kind.ENDED, call.number, encode_outcome(outcome)))

    def _over(self, call: ClusterCall) -> None:
        self._release(call)
        del self._calls[call.number]
        if not self._calls:
            self._empty.set()

    def _release(self, call: ClusterCall) -> None:
        """Let go of its key, so that Dask forgets it."""
        future, call.future = call.future, None
        if self._by_key.get(call.errand.key) is call:
            del self._by_key[call.errand.key]
        if future is not None:
            future.release()
