"""The composition root: `create_app` and its lifespan. No module below knows the concrete classes.

`afterwards serve` makes one application per web worker, all with the same registry process.
`uvicorn --factory afterwards.main:create_app` works too: the first worker on a data directory
starts the registry, and later ones join it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from afterwards import __version__, api
from afterwards.api.authorise import Gate
from afterwards.api.http_metrics import HttpMetrics
from afterwards.api.routing import require_declared
from afterwards.assembly import (
    announce_mail,
    database_access,
    describe_types,
    live_catalogue,
    registry_config,
)
from afterwards.cluster import require_cluster
from afterwards.database import require_database
from afterwards.errors import ConfigurationError
from afterwards.logs import configure, get_logger
from afterwards.registry.client.ring import Ring
from afterwards.registry.process.access import REGISTRIES, Access, new_service, of_service
from afterwards.registry.process.lock import Endpoint
from afterwards.settings import Settings
from afterwards.system.directories import prepare_directories, require_temporary_directory
from afterwards.task_types.described import Described
from afterwards.task_types.generations import Generation, News
from afterwards.traces.base import require_packages
from afterwards.web_worker import WebWorker

log = get_logger(__name__)

FIRST_GENERATION: Final = 1


def create_app(
    settings: Settings | None = None,
    *,
    endpoint: Endpoint | None = None,
    service: str = "",
    news: News | None = None,
) -> FastAPI:
    """The application of one web worker.

    Args:
        settings: None: read from the environment and `.env`.
        endpoint: the registry process of the service this worker belongs to; None: an own one, or
            the one that serves the data directory already.
        service: the service this worker belongs to, if its registry is in PostgreSQL; empty: one of
            its own.
        news: of the task code; None: it is described now, and stays as it is.

    Raises:
        SystemExit: a setting that was read here is wrong; a line on stderr names it.
        ConfigurationError: one of `settings` names a module that cannot be used.
    """
    chosen, generation = _beginning(settings, news)
    catalogue = live_catalogue(chosen, generation.catalogue)
    http_metrics = HttpMetrics()
    gate = Gate(None)
    ring = Ring(gate.renew)
    gate.used, gate.meters = ring.used, ring.meters
    stopped_early = threading.Event()

    def make_worker() -> WebWorker:
        access = _reach(chosen, endpoint, service)
        worker = WebWorker(chosen, catalogue, access, http_metrics, generation, ring=ring)
        if news is not None:
            worker.follow(news, app.state.description.renew)
        return worker

    app = FastAPI(
        title="Afterwards",
        version=__version__,
        lifespan=partial(_live, make_worker, stopped_early),
        docs_url=None,
        redoc_url=None,
        # FastAPI would look for OpenTelemetry's providers at each request, for 5 % of its time.
        telemetry=TelemetryConfig(
            tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False
        ),
    )
    app.state.begin_drain = stopped_early.set
    api.install(app, chosen, http_metrics, catalogue, gate)
    return app


@asynccontextmanager
async def _live(
    make_worker: Callable[[], WebWorker], stopped_early: threading.Event, app: FastAPI
) -> AsyncIterator[None]:
    """The lifespan of an application: that of its worker."""
    require_declared(app.routes)
    worker = make_worker()
    # Before it joins: a worker that is stopped while it starts would be given the tasks that the
    # others release just then.
    app.state.begin_drain = worker.begin_drain
    if stopped_early.is_set():
        worker.begin_drain()
    _hear_uvicorns_signals(worker.begin_drain)
    await worker.start()
    app.state.service = worker.service
    try:
        yield
    finally:
        await worker.stop()


def _hear_uvicorns_signals(begin_drain: Callable[[], None]) -> None:
    """Have the worker told of a stop as soon as uvicorn alone is.

    It tells its application when all connections have ended; one that streams would not end.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        handle = signal.getsignal(number)
        if callable(handle) and isinstance(getattr(handle, "__self__", None), uvicorn.Server):
            signal.signal(number, partial(_pass_on, loop, begin_drain, handle))


def _pass_on(
    loop: asyncio.AbstractEventLoop,
    begin_drain: Callable[[], None],
    handle: Callable[[int, FrameType | None], Any],
    number: int,
    frame: FrameType | None,
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(begin_drain)
    handle(number, frame)


def _beginning(settings: Settings | None, news: News | None) -> tuple[Settings, Generation]:
    """The settings of a worker, and the task code that it begins with."""
    if settings is None:
        settings, described_now = _own_settings()
    elif news is not None:
        return settings, Generation.of(news.first)
    else:
        described_now = describe_types(settings)
    return settings, Generation(FIRST_GENERATION, *described_now)


def _own_settings() -> tuple[Settings, Described]:
    """Settings, task types and logging of a process that was not set up before."""
    try:
        settings = Settings.load()
        configure(settings.log_level, settings.log_format)
        require_temporary_directory()
        require_packages(settings.name_of("otlp_endpoint"), settings.otlp_endpoint)
        _ = settings.effects
        require_cluster(settings)
        require_database(settings)
        described_now = describe_types(settings)
        prepare_directories(settings)
        announce_mail(settings)
    except ConfigurationError as error:
        # As `afterwards serve` says it; uvicorn would show a traceback.
        sys.stderr.write(f"afterwards: {error}\n")
        raise SystemExit(2) from None
    return settings, described_now


def _reach(settings: Settings, endpoint: Endpoint | None, service: str) -> Access:
    if settings.in_database:
        return database_access(settings, service or new_service())
    if endpoint is not None:
        return of_service(endpoint)
    return REGISTRIES[settings.registry](registry_config(settings))
