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
from afterwards.task_types.described import Described, described
from afterwards.task_types.description import Catalogue
from afterwards.task_types.generations import Generation, LiveCatalogue, News
from afterwards.task_types.snapshot import CodeFile
from afterwards.task_types.validating import MAX_ANSWER_BYTES
from afterwards_executors import EXECUTORS, IN_PROCESS
from afterwards_executors.hosts.settings import HostSettings

log = get_logger(__name__)

JOIN_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 3.0
EXECUTOR_STOP_SECONDS: Final = 2.0
GUARD_SECONDS: Final = 0.5
FIRST_GENERATION: Final = 1
CODE_KEPT_SECONDS: Final = 60.0
_LINGER_MARGIN_SECONDS: Final = 15.0


def create_app(
    settings: Settings | None = None,
    *,
    endpoint: Endpoint | None = None,
    news: News | None = None,
) -> FastAPI:
    """The application of one web worker.

    Args:
        settings: None: read from the environment and `.env`.
        endpoint: the registry process of the service this worker belongs to; None: an own one, or
            the one that serves the data directory already.
        news: of the task code; None: it is described now, and stays as it is.

    Raises:
        SystemExit: a setting that was read here is wrong; a line on stderr names it.
        ConfigurationError: one of `settings` names a module that cannot be used.
    """
    if settings is None:
        chosen, described_now = _own_settings()
        generation = Generation(FIRST_GENERATION, *described_now)
    elif news is None:
        chosen = settings
        generation = Generation(FIRST_GENERATION, *described(settings.task_modules))
    else:
        chosen, generation = settings, Generation.of(news.first)
    catalogue = LiveCatalogue(generation.catalogue)
    http_metrics = HttpMetrics()
    stopped_early = threading.Event()

    def make_worker() -> WebWorker:
        access = _reach(chosen, endpoint)
        worker = WebWorker(chosen, catalogue, access, http_metrics, generation)
        if news is not None:
            worker.follow(news, partial(setattr, app, "openapi_schema", None))
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
    api.install(app, chosen, http_metrics, catalogue)
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
        catalogue: LiveCatalogue,
        access: Access,
        http_metrics: HttpMetrics,
        generation: Generation,
    ) -> None:
        self._settings = settings
        self._access = access
        self._catalogue = catalogue
        self._code = CodeFile(generation.code)
        self._news: News | None = None
        self._on_renewal: Callable[[], None] = lambda: None
        self._following: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._hosts = host_settings(settings, self._code)
        self._executors = executors(settings, self._hosts)
        self._dispatcher = Dispatcher(
            self._executors,
            catalogue,
            environment(settings),
            settings.request_timeout_seconds,
            self._report,
            progress=self._progress,
            slots_changed=self._slots_changed,
        )
        self._client = RegistryClient(
            self._dispatcher, http_metrics, task_code(catalogue, generation.number)
        )
        self._connection = RegistryConnection(
            access.connect,
            this_process(access.service),
            self._client,
            self._dispatcher,
            fence_seconds=settings.lease_seconds * FENCE_SHARE,
        )
        self._events = EventHub(access.connect, self._client.call)
        self.service = TaskService(
            self._client,
            self._dispatcher,
            catalogue,
            self._events,
            validator(settings, self._hosts),
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
        if self.service.validator is not None:
            self.service.validator.start()
        self._client.bind(asyncio.get_running_loop())
        self._connection.start()
        if not await asyncio.to_thread(self._connection.wait_joined, JOIN_SECONDS):
            log.error("registry does not answer yet; requests are refused until it does")
        if self._news is not None:
            self._following = asyncio.create_task(self._news.follow(self._renew))

    def follow(self, news: News, on_renewal: Callable[[], None]) -> None:
        """Take to every generation of task code that is published, once this is started."""
        self._news, self._on_renewal = news, on_renewal

    async def _renew(self, generation: Generation) -> None:
        """Take to a generation, in one step, as soon as its code can validate what is submitted.

        Raises:
            Unvalidated: it cannot; nothing has changed.
        """
        code = CodeFile(generation.code)
        hosts = host_settings(self._settings, code)
        fresh = validator(self._settings, hosts)
        try:
            if fresh is not None:
                fresh.start()
                await fresh.warmed()
        except BaseException:
            if fresh is not None:
                await asyncio.to_thread(fresh.close, EXECUTOR_STOP_SECONDS)
            code.close()
            raise
        former_code, self._code = self._code, code
        self._catalogue.latest = generation.catalogue
        former = self.service.renew(generation.catalogue, fresh)
        self._executors.renew(hosts)
        self._client.announce(task_code(generation.catalogue, generation.number))
        self._on_renewal()
        log.info("worker runs new task code", generation=generation.number)
        retiring = asyncio.create_task(_retire(former, former_code))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def begin_drain(self) -> None:
        """Take no more claims; the grace of running attempts begins.

        To be called as soon as it is known that this process has to stop: its connections may take
        a while to end.
        """
        if self._draining_since is None:
            self._draining_since = time.monotonic()
            self.service.draining = True
            self._client.drain()
            self._executors.wind_up()
            # Streams and waits would hold the connections, and those the stop.
            self._events.close()

    async def stop(self) -> None:
        """Let the attempts end, release the rest, send the last reports, and leave."""
        self.begin_drain()
        await self._end_renewals()
        if not await asyncio.to_thread(
            self._dispatcher.drain, self._grace_left_seconds(), FLUSH_SECONDS
        ):
            log.warning("reports of attempts that were stopped are not answered yet")
        await asyncio.to_thread(self._executors.shutdown, EXECUTOR_STOP_SECONDS)
        if self.service.validator is not None:
            await asyncio.to_thread(self.service.validator.close, EXECUTOR_STOP_SECONDS)
        await asyncio.to_thread(self._connection.close, FLUSH_SECONDS)
        self._client.unbind()
        self._over.set()
        if self._guard is not None:
            await asyncio.to_thread(self._guard.join)
        await asyncio.to_thread(self._access.close)

    async def _end_renewals(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        for retiring in self._retiring:
            retiring.cancel()
        if self._retiring:
            await asyncio.wait(self._retiring)

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


async def _retire(former: Validator | None, code: CodeFile) -> None:
    """End what validated payloads until a renewal."""
    try:
        if former is not None:
            await former.retire(EXECUTOR_STOP_SECONDS)
        # Hosts that were being started just then have found it by then, or import from the disk.
        await asyncio.sleep(CODE_KEPT_SECONDS)
    finally:
        if former is not None:
            await asyncio.to_thread(former.close, EXECUTOR_STOP_SECONDS)
        code.close()


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


def _own_settings() -> tuple[Settings, Described]:
    """Settings, task types and logging of a process that nobody else has set up."""
    try:
        settings = Settings.load()
        configure(settings.log_level, settings.log_format)
        require_temporary_directory()
        described_now = described(settings.task_modules)
        prepare_directories(settings)
    except ConfigurationError as error:
        # As `afterwards serve` says it; uvicorn would show a traceback.
        sys.stderr.write(f"afterwards: {error}\n")
        raise SystemExit(2) from None
    return settings, described_now


def _reach(settings: Settings, endpoint: Endpoint | None) -> Access:
    if endpoint is not None:
        return of_service(endpoint)
    return REGISTRIES[settings.registry](registry_config(settings))


def executors(settings: Settings, hosts: HostSettings) -> Executors:
    """The executors of a worker, not started."""
    slots = {
        "async": settings.async_slots,
        "thread": settings.thread_slots,
        "process": settings.process_slots,
    }
    return Executors(
        {kind: make(slots[kind], hosts) for kind, make in EXECUTORS.items()},
        {kind: make(slots[kind]) for kind, make in IN_PROCESS.items()},
        CATALOGUE,
    )


def validator(settings: Settings, hosts: HostSettings) -> Validator | None:
    """What validates payloads of users' task types, not started; None: there are none."""
    if not settings.task_modules:
        return None
    # Kept, and never worn by what it does: it runs nothing else.
    kept = replace(hosts, keep=1, max_calls=None, max_value_bytes=MAX_ANSWER_BYTES)
    return Validator(EXECUTORS["process"](1, kept), settings.task_modules)


def host_settings(settings: Settings, code: CodeFile) -> HostSettings:
    """What hosts of task code are started with from now on."""
    return HostSettings(
        environment={**child_environment(), **code.environment},
        max_value_bytes=settings.max_result_bytes,
        overdue_seconds=settings.overdue_seconds,
        blocked_seconds=settings.blocked_seconds,
        handover_seconds=settings.handover_seconds,
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


def task_code(catalogue: Catalogue, generation: int) -> TaskCode:
    """What a worker with these task types can run."""
    known = frozenset(catalogue)
    return TaskCode(known, known - frozenset(CATALOGUE), generation, limits(catalogue))


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
