"""The host with the Dask client: calls come by its wire, and go to the cluster.

It is a process of its own because Dask's client unpickles what the cluster sends. It stays,
whatever becomes of the cluster: calls that come meanwhile wait here until there is one again.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from typing import Final

import dask

from afterwards_executors.cluster.calls import ClusterCalls
from afterwards_executors.cluster.errand import Errand
from afterwards_executors.cluster.session import LOOK_SECONDS, LOST, Cluster, Session
from afterwards_executors.cluster.settings import ClusterSettings, NotForUs
from afterwards_executors.frames import NUMBER, Frame, Kind, Setup, frame
from afterwards_executors.inside.wire import Wire

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0

LEAVE_SECONDS: Final = 1.5
"""The time in which what runs in the cluster is stopped, and the client leaves it."""


def serve(wire: Wire, setup: Setup) -> None:
    """Pass on what comes; returns when nothing more will."""
    assert setup.cluster is not None
    # What Dask says of lost connections is said here, once and in other words.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    # A payload may be large, and is passed on once.
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 GiB"})
    asyncio.run(_Host(wire, setup.cluster).run())


class _Host:
    """Belongs to its event loop."""

    def __init__(self, wire: Wire, settings: ClusterSettings) -> None:
        self._wire = wire
        self._settings = settings
        self._calls = ClusterCalls(wire, settings.station.lease_seconds)
        self._over = asyncio.Event()
        self._said: bytes | None = None

    async def run(self) -> None:
        """Until the wire ends, or says so."""
        loop = asyncio.get_running_loop()
        self._wire.ready()
        loop.add_reader(self._wire.fileno(), self._read)
        loop.call_soon(self._read)
        connecting = asyncio.create_task(self._stay_connected())
        await self._over.wait()
        loop.remove_reader(self._wire.fileno())
        self._calls.stop_all()
        await asyncio.wait([asyncio.create_task(self._calls.ended())], timeout=LEAVE_SECONDS / 2)
        connecting.cancel()
        await asyncio.wait([connecting], timeout=LEAVE_SECONDS)

    # -- the wire ------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            frames = self._wire.receive_all()
        except OSError:
            frames = None
        if frames is None:
            self._over.set()
            return
        runs = sum(one.kind == Kind.RUN for one in frames)
        if runs:
            self._wire.begun(runs)
        for one in frames:
            self._do(one)

    def _do(self, said: Frame) -> None:
        if said.kind == Kind.RUN:
            errand: Errand = pickle.loads(said.body)  # noqa: S301 - of the process that started this
            self._calls.add(said.call, errand)
        elif said.kind == Kind.STOP:
            self._calls.stop(said.call)
        elif said.kind == Kind.ANSWER:
            (question,) = NUMBER.unpack_from(said.body)
            self._calls.answer(said.call, question, said.body[NUMBER.size :])
        elif said.kind == Kind.WIND_UP:
            self._calls.wind_up()
        elif said.kind == Kind.PING:
            self._wire.send(frame(Kind.ALIVE, said.call, b"\0" * 8))
        elif said.kind == Kind.LEAVE:
            self._over.set()

    def _say(self, slots: int, problem: str) -> None:
        """Tell of the cluster, if there is news."""
        said = NUMBER.pack(slots) + problem.encode()
        if said != self._said:
            self._said = said
            self._wire.send(frame(Kind.CLUSTER, 0, said))

    # -- the cluster ---------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        address = self._settings.scheduler
        while True:
            session = Session(self._settings, self._calls.hear)
            try:
                cluster = await session.open()
                self._calls.open(session, cluster)
                await self._look_after(session, cluster)
            except NotForUs as error:
                self._lose(str(error))
            except LOST as error:
                self._lose(f"the Dask scheduler at {address} cannot be reached: {error!r}")
            except Exception as error:  # noqa: BLE001 - Dask raises anything over wrong settings
                self._lose(f"the Dask scheduler at {address} cannot be used: {error!r}")
            finally:
                await session.close()
            await asyncio.sleep(RETRY_SECONDS)

    def _lose(self, problem: str) -> None:
        self._say(0, problem)
        self._calls.close()

    async def _look_after(self, session: Session, cluster: Cluster) -> None:
        """Tell of the cluster as it changes. Raises what a lost scheduler raises."""
        while True:
            self._say(self._calls.slots(cluster), _problem(cluster))
            await asyncio.sleep(LOOK_SECONDS)
            cluster = await session.look()


def _problem(cluster: Cluster) -> str:
    if cluster.workers:
        return ""
    if cluster.others:
        return (
            f"none of {cluster.others} Dask workers can run calls: they have another version of "
            "Afterwards or of Python, or none"
        )
    return "the cluster has no workers"
