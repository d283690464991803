"""The composition root: `create_app` and its lifespan. Nobody below knows the concrete classes.

`afterwards serve` makes one application per web worker, all with the same registry process.
`uvicorn --factory afterwards.main:create_app` works too: the first worker on a data directory
starts the registry, and later ones join it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from afterwards import __version__, api
from afterwards.api.http_metrics import HttpMetrics
from afterwards.errors import ConfigurationError
from afterwards.events.hub import EventHub
from afterwards.execution.attempt import prepare
from afterwards.execution.dispatcher import Dispatcher
from afterwards.execution.executors import Executors
from afterwards.execution.host_log import HostLog
from afterwards.logs import configure, get_logger
from afterwards.registry.client.client import RegistryClient, TaskCode
from afterwards.registry.client.connection import RegistryConnection
from afterwards.registry.process.access import REGISTRIES, Access, RegistryConfig, of_service
from afterwards.registry.process.lock import Endpoint
from afterwards.registry.protocol.base import FENCE_SHARE
from afterwards.registry.protocol.incarnation import this_process
from afterwards.registry.protocol.requests import Report, TypeLimits
from afterwards.service.service import TaskService
from afterwards.service.validator import Validator
from afterwards.settings import Settings
from afterwards.system.child_environment import child_environment
from afterwards.system.directories import prepare_directories, require_temporary_directory
from afterwards.system.trouble import Trouble
from afterwards.task_types import CATALOGUE
from afterwards.task_types.base import Environment
from afterwards.task_types.described import described
from afterwards.task_types.description import Catalogue
from afterwards.task_types.validating import MAX_ANSWER_BYTES
from afterwards_executors import EXECUTORS, IN_PROCESS
from afterwards_executors.hosts.settings import HostSettings

log = get_logger(__name__)

JOIN_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 3.0
EXECUTOR_STOP_SECONDS: Final = 2.0
GUARD_SECONDS: Final = 0.5
_LINGER_MARGIN_SECONDS: Final = 15.0


def create_app(
    settings: Settings | None = None,
    *,
    endpoint: Endpoint | None = None,
    catalogue: Catalogue | None = None,
) -> FastAPI:
    """The application of one web worker.

    Args:
        settings: None: read from the environment and `.env`.
        endpoint: the registry process of the service this worker belongs to; None: an own one, or
            the one that serves the data directory already.
        catalogue: the task types there are; None: those of the settings, which are described now.

    Raises:
        SystemExit: a setting that was read here is wrong; a line on stderr names it.
        ConfigurationError: one of `settings` names a module that cannot be used.
    """
    if settings is None:
        chosen, types = _own_settings()
    else:
        chosen = settings
        types = described(settings.task_modules) if catalogue is None else catalogue
    http_metrics = HttpMetrics()
    stopped_early = threading.Event()

    def make_worker() -> WebWorker:
        return WebWorker(chosen, types, _reach(chosen, endpoint), http_metrics)

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
    api.install(app, chosen, http_metrics, types)
    return app


@asynccontextmanager
async def _live(
    make_worker: Callable[[], WebWorker], stopped_early: threading.Event, app: FastAPI
) -> AsyncIterator[None]:
    """The lifespan of an application: that of its worker."""
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


class WebWorker:
    """What a web worker is made of besides its routes, and the order it starts and stops in."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        access: Access,
        http_metrics: HttpMetrics,
    ) -> None:
        self._settings = settings
        self._access = access
        self._executors = executors(settings)
        self._dispatcher = Dispatcher(
            self._executors,
            catalogue,
            environment(settings),
            settings.request_timeout_seconds,
            self._report,
            progress=self._progress,
            slots_changed=self._slots_changed,
        )
        self._client = RegistryClient(self._dispatcher, http_metrics, task_code(catalogue))
        self._connection = RegistryConnection(
            access.connect,
            this_process(access.service),
            self._client,
            self._dispatcher,
            fence_seconds=settings.lease_seconds * FENCE_SHARE,
        )
        self._events = EventHub(access.connect, self._client.call)
        self._validator = validator(settings) if settings.task_modules else None
        self.service = TaskService(
            self._client, self._dispatcher, catalogue, self._events, self._validator
        )
        self._draining_since: float | None = None
        self._over = threading.Event()
        self._guard: threading.Thread | None = None

    def _report(self, report: Report) -> None:
        self._client.report(report)

    def _slots_changed(self) -> None:
        self._client.slots_changed()

    def _progress(self, task_id: str, attempt: int, fraction: float, message: str | None) -> None:
        self._client.progress(task_id, attempt, fraction, message)

    async def start(self) -> None:
        """Start the executors and join the registry."""
        self._executors.start()
        if self._access.guard is not None:
            self._guard = threading.Thread(
                target=self._guard_registry,
                args=[self._access.guard],
                name="registry-guard",
                daemon=True,
            )
            self._guard.start()
        if self._validator is not None:
            self._validator.start()
        self._client.bind(asyncio.get_running_loop())
        self._connection.start()
        if not await asyncio.to_thread(self._connection.wait_joined, JOIN_SECONDS):
            log.error("registry does not answer yet; requests are refused until it does")

    def begin_drain(self) -> None:
        """Take no more claims; the grace of running attempts begins.

        To be called as soon as it is known that this process has to stop: its connections may take
        a while to end.
        """
        if self._draining_since is None:
            self._draining_since = time.monotonic()
            self.service.draining = True
            self._client.drain()
            # Streams and waits would hold the connections, and those the stop.
            self._events.close()

    async def stop(self) -> None:
        """Let the attempts end, release the rest, send the last reports, and leave."""
        self.begin_drain()
        if not await asyncio.to_thread(
            self._dispatcher.drain, self._grace_left_seconds(), FLUSH_SECONDS
        ):
            log.warning("reports of attempts that were stopped are not answered yet")
        await asyncio.to_thread(self._executors.shutdown, EXECUTOR_STOP_SECONDS)
        if self._validator is not None:
            await asyncio.to_thread(self._validator.close, EXECUTOR_STOP_SECONDS)
        await asyncio.to_thread(self._connection.close, FLUSH_SECONDS)
        self._client.unbind()
        self._over.set()
        if self._guard is not None:
            await asyncio.to_thread(self._guard.join)
        await asyncio.to_thread(self._access.close)

    def _grace_left_seconds(self) -> float:
        assert self._draining_since is not None
        return max(0.0, self._draining_since + self._settings.grace_seconds - time.monotonic())

    def _guard_registry(self, guard: Callable[[], None]) -> None:
        """Where no master looks after the registry process, look after it here.

        In a thread of its own, which lasts: it reads files and starts a process, and the kernel
        ends that process with the thread that has started it.
        """
        trouble = Trouble(log, "registry process cannot be looked after; trying again")
        while not self._over.wait(GUARD_SECONDS):
            with trouble.survived():
                guard()


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


def _own_settings() -> tuple[Settings, Catalogue]:
    """Settings, task types and logging of a process that nobody else has set up."""
    try:
        settings = Settings.load()
        configure(settings.log_level, settings.log_format)
        require_temporary_directory()
        catalogue = described(settings.task_modules)
        prepare_directories(settings)
    except ConfigurationError as error:
        # As `afterwards serve` says it; uvicorn would show a traceback.
        sys.stderr.write(f"afterwards: {error}\n")
        raise SystemExit(2) from None
    return settings, catalogue


def _reach(settings: Settings, endpoint: Endpoint | None) -> Access:
    if endpoint is not None:
        return of_service(endpoint)
    return REGISTRIES[settings.registry](registry_config(settings))


def executors(settings: Settings) -> Executors:
    """The executors of a worker, not started."""
    slots = {
        "async": settings.async_slots,
        "thread": settings.thread_slots,
        "process": settings.process_slots,
    }
    hosts = host_settings(settings)
    return Executors(
        {kind: make(slots[kind], hosts) for kind, make in EXECUTORS.items()},
        {kind: make(slots[kind]) for kind, make in IN_PROCESS.items()},
        CATALOGUE,
    )


def validator(settings: Settings) -> Validator:
    """What validates payloads of users' task types, not started."""
    # Kept, and never worn by what it does: it runs nothing else.
    hosts = replace(
        host_settings(settings), keep=1, max_calls=None, max_value_bytes=MAX_ANSWER_BYTES
    )
    return Validator(EXECUTORS["process"](1, hosts), environment(settings))


def host_settings(settings: Settings) -> HostSettings:
    """What hosts of task code are started with."""
    return HostSettings(
        environment=child_environment(),
        max_value_bytes=settings.max_result_bytes,
        overdue_seconds=settings.overdue_seconds,
        blocked_seconds=settings.blocked_seconds,
        max_calls=settings.host_max_attempts or None,
        max_memory_bytes=settings.host_max_memory_bytes or None,
        adopts_orphans=True,
        prepare=(prepare, (environment(settings),)),
        is_terminal=sys.stderr.isatty(),
        listener=HostLog(),
    )


def environment(settings: Settings) -> Environment:
    """What task types get to know of the settings."""
    return Environment(
        output_dir=settings.output_dir.absolute(),
        notification_delay_seconds=settings.notification_delay_seconds,
        report_delay_seconds=settings.report_delay_seconds,
        file_delay_seconds=settings.file_delay_seconds,
        email_delay_seconds=settings.email_delay_seconds,
        max_result_bytes=settings.max_result_bytes,
        log_level=settings.log_level,
        log_format=settings.log_format,
        task_modules=settings.task_modules,
    )


def task_code(catalogue: Catalogue) -> TaskCode:
    """What a worker with these task types can run."""
    known = frozenset(catalogue)
    return TaskCode(known, known - frozenset(CATALOGUE), limits=limits(catalogue))


def limits(catalogue: Catalogue) -> dict[str, TypeLimits]:
    """What bounds the attempts of those task types that are bounded."""
    return {
        name: TypeLimits(
            task_type.max_concurrency,
            *((rate.count, rate.period_seconds) if (rate := task_type.rate_limit) else ()),
        )
        for name, task_type in catalogue.items()
        if task_type.max_concurrency is not None or task_type.rate_limit is not None
    }


def registry_config(settings: Settings) -> RegistryConfig:
    """What the registry process gets to know of the settings."""
    return RegistryConfig(
        data_dir=str(settings.data_dir.absolute()),
        max_pending=settings.max_pending,
        max_pending_bytes=settings.max_pending_bytes,
        lease_seconds=settings.lease_seconds,
        retention_hours=settings.retention_hours,
        clock_confirmed=settings.clock_confirmed,
        # After the grace of the attempts, their workers stop executors and flush their reports.
        linger_seconds=settings.grace_seconds + _LINGER_MARGIN_SECONDS,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
