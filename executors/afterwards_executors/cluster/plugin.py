"""The part in each Dask worker: it opens a station where one can be, and says so by a resource."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from typing import TYPE_CHECKING

from distributed.diagnostics.plugin import WorkerPlugin

from afterwards_executors.cluster.office import EXTENSION, Office, office_of
from afterwards_executors.cluster.settings import ROOM, StationSettings, installed_version

if TYPE_CHECKING:
    from distributed.worker import Worker

log = logging.getLogger("afterwards.station")


class StationPlugin(WorkerPlugin):
    """Opens a station on each worker that there is, and on each that comes."""

    idempotent = True

    def __init__(self, settings: StationSettings) -> None:
        self.name = settings.gate
        self._settings = settings

    async def setup(self, worker: Worker) -> None:
        """Open it, unless the worker has another version of what calls need."""
        settings = self._settings
        here = installed_version()
        if here != settings.version or settings.python != importlib.util.MAGIC_NUMBER:
            log.warning(
                "this worker has afterwards %s or a Python that the service, with afterwards %s, "
                "has not: it gets no tasks of that service",
                here,
                settings.version,
            )
            return
        office = office_of(worker)
        if office is None:
            office = worker.extensions[EXTENSION] = Office(worker)
        await asyncio.to_thread(office.open, settings)
        await worker.set_resources(**{self.name: ROOM})
        await worker.scheduler.afterwards_opened(worker=worker.contact_address)

    async def teardown(self, worker: Worker) -> None:
        """Close it: its calls end."""
        if worker.status.name == "running":
            await worker.set_resources(**{self.name: 0})
        office = office_of(worker)
        if office is not None and await asyncio.to_thread(office.close, self.name):
            del worker.extensions[EXTENSION]
