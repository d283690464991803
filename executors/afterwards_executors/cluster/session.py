"""A connection to a Dask scheduler, from its beginning to its loss."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from distributed import Client, Future
from distributed.comm.core import CommClosedError

from afterwards_executors.cluster.errand import TO_CLIENT, TO_WORKER, Errand, Order
from afterwards_executors.cluster.office import supervise
from afterwards_executors.cluster.plugin import StationPlugin
from afterwards_executors.cluster.relay import Relay
from afterwards_executors.cluster.settings import ROOM, ClusterSettings, NotForUs

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 10.0
"""A scheduler that does not answer for so long is lost."""

CLOSE_SECONDS: Final = 1.0

KEPT_LEASES: Final = 4
"""Stations are kept for so many leases after their last submitter has left."""

LOST: Final = (OSError, CommClosedError, asyncio.TimeoutError)
"""The errors that a lost scheduler leads to."""


class Cluster(NamedTuple):
    """The part of a cluster that calls can be given to."""

    threads: int
    workers: tuple[tuple[str, str, str], ...]
    """The address, the name and the host of each Dask worker."""
    unplaced: int
    """The number of this session's calls that no worker can take."""
    others: int
    """Dask workers that get no calls: another version, another generation, or no station yet."""


NOTHING: Final = Cluster(0, (), 0, 0)


class Session:
    """Belongs to the event loop.

    Args:
        heard: called with each message about a call: the Dask worker and the rest.
    """

    def __init__(self, settings: ClusterSettings, heard: Callable[..., None]) -> None:
        self._settings = settings
        self._gate = settings.station.gate
        self._heard = heard
        self._client: Client | None = None

    @property
    def id(self) -> str:
        """The submitter, to the cluster."""
        assert self._client is not None
        return str(self._client.id)

    @property
    def _about_itself(self) -> dict[str, Any]:
        keep_seconds = KEPT_LEASES * self._settings.station.lease_seconds
        return {"gate": self._gate, "client": self.id, "keep_seconds": keep_seconds}

    async def open(self, *, with_stations: bool = True) -> Cluster:
        """Connect, see that the cluster is fit for calls, and have the other parts installed.

        Args:
            with_stations: on the workers, too; False: there will be no calls.

        Raises:
            OSError, TimeoutError: the scheduler cannot be reached.
            NotForUs: it can, and no call may be given to it.
        """
        client = Client(
            self._settings.scheduler,
            asynchronous=True,
            set_as_default=False,
            timeout=CONNECT_SECONDS,
            name="afterwards",
        )
        self._client = client
        await client
        # Its messages are for us alone: what Dask's own client does not know, it logs.
        client._stream_handlers[TO_CLIENT] = self._heard  # noqa: SLF001 - no other way
        await self._install(client, with_stations=with_stations)
        return await self.look()

    async def _install(self, client: Client, *, with_stations: bool) -> None:
        station = self._settings.station
        try:
            await client.register_plugin(Relay(station.version))
        except LOST:
            raise
        except Exception as error:
            raise NotForUs(
                f"the Dask scheduler does not take the plugin of the service ({error}): run it "
                f"where afterwards[dask] {station.version} is installed"
            ) from error
        state = await self._scheduler().afterwards_state(**self._about_itself)
        require_no_retries(state["allowed_failures"])
        if with_stations:
            await client.register_plugin(StationPlugin(station))

    def _scheduler(self) -> Any:
        """The scheduler, each method of which is a handler of it."""
        assert self._client is not None
        return self._client.scheduler

    async def look(self) -> Cluster:
        """The cluster as it is now. Raises as `open`, if the connection was lost."""
        client = self._client
        assert client is not None
        if client.status != "running":
            raise OSError("the connection to the Dask scheduler was lost")
        asked = self._scheduler().afterwards_state(**self._about_itself)
        state = await asyncio.wait_for(asked, SILENT_SECONDS)
        return Cluster(state["threads"], state["workers"], state["unplaced"], state["others"])

    def submit(
        self, numbers: Sequence[int], errands: Sequence[Errand], workers: Sequence[str] | None
    ) -> list[Future[Any]]:
        """Give calls of one crowd and placement to the cluster.

        Args:
            numbers: of the calls; not used again in this session.
            workers: the addresses of those that may run them; None: any.
        """
        assert self._client is not None
        first = errands[0]
        share = 1 if first.crowd is None else -(-ROOM // max(1, first.crowd))
        orders = [self._order(number, one) for number, one in zip(numbers, errands, strict=True)]
        futures: list[Future[Any]] = self._client.map(
            supervise,
            *map(list, zip(*orders, strict=True)),
            key=[errand.key for errand in errands],
            pure=False,
            retries=0,
            resources={self._gate: share, **dict(first.placement.resources)},
            workers=None if workers is None else list(workers),
        )
        return futures

    def _order(self, number: int, errand: Errand) -> Order:
        name = errand.name
        return Order(
            self._gate,
            self.id,
            number,
            name.name,
            name.number,
            errand.timeout_seconds,
            errand.call,
        )

    def tell(self, about: str, worker: str | None, **message: Any) -> None:
        """Say something to a Dask worker; None: to the one that has the call of this `key`."""
        client = self._client
        if client is not None and client.status == "running":
            client._send_to_scheduler(  # noqa: SLF001 - no other way
                {"op": TO_WORKER, "about": about, "worker": worker, **message}
            )

    async def fence(self, errand: Errand) -> None:
        """Return once no earlier call of its name runs anywhere, and none can begin.

        Raises:
            OSError, TimeoutError: the scheduler was lost.
        """
        lease = self._settings.station.lease_seconds
        name = errand.name
        while True:
            asked = self._scheduler().afterwards_fence(
                group=name.group, name=name.name, attempt=name.number
            )
            answer = await asyncio.wait_for(asked, SILENT_SECONDS + lease)
            # A worker that has left the cluster may run a call to the end of its lease.
            left = lease - answer["quiet_seconds"]
            if answer["unconfirmed"]:
                await asyncio.sleep(LOOK_SECONDS)
            elif left > 0:
                await asyncio.sleep(left)
                return
            else:
                return

    async def close(self) -> None:
        """Leave the cluster; it ends what is left of this session."""
        client, self._client = self._client, None
        if client is not None:
            try:
                await asyncio.wait_for(client.close(), CLOSE_SECONDS)
            except Exception as error:  # noqa: BLE001 - it is given up, whatever has gone wrong
                log.debug("the Dask client did not close in order: %r", error)


def require_no_retries(allowed_failures: int) -> None:
    """Refuse a scheduler that runs calls again by itself.

    Raises:
        NotForUs: it would.
    """
    if allowed_failures != 0:
        raise NotForUs(
            f"the Dask scheduler has distributed.scheduler.allowed-failures: {allowed_failures}, "
            "so that it runs the same attempt again when a worker dies; start it with "
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0"
        )
