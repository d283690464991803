"""A web worker besides its routes: what it runs, and the order it starts and stops in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from afterwards.api.http_metrics import HttpMetrics
from afterwards.assembly import (
    environment,
    executors,
    host_settings,
    task_code,
    traces,
    validator,
)
from afterwards.code_renewals import CodeRenewals
from afterwards.counts import WorkerCounts
from afterwards.events.hub import EventHub
from afterwards.execution.after_answers import AfterAnswers
from afterwards.execution.dispatcher import Dispatcher
from afterwards.execution.host_log import HostLog
from afterwards.execution.questions import Questions
from afterwards.execution.this_worker import ThisWorker
from afterwards.logs import get_logger
from afterwards.registry.client.client import RegistryClient
from afterwards.registry.client.connection import RegistryConnection
from afterwards.registry.client.list_reader import ListReader
from afterwards.registry.client.ring import Ring
from afterwards.registry.process.access import Access
from afterwards.registry.process.guard import Guard
from afterwards.registry.protocol.base import FENCE_SHARE
from afterwards.registry.protocol.incarnation import this_process
from afterwards.registry.protocol.requests import Report, Request
from afterwards.service.declaring import Declaring
from afterwards.service.service import TaskService
from afterwards.service.validator import Validator
from afterwards.settings import Settings
from afterwards.task_types.description import Catalogue
from afterwards.task_types.generations import Generation, LiveCatalogue, News
from afterwards.task_types.snapshot import CodeFile
from afterwards_executors.hosts.settings import HostSettings

log = get_logger(__name__)

JOIN_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 3.0
EXECUTOR_STOP_SECONDS: Final = 2.0


class WebWorker:
    """The parts of a web worker besides its routes, and the order in which they start and stop."""

    def __init__(
        self,
        settings: Settings,
        catalogue: LiveCatalogue,
        access: Access,
        http_metrics: HttpMetrics,
        generation: Generation,
        *,
        ring: Ring,
    ) -> None:
        self._settings = settings
        self._access = access
        self._catalogue = catalogue
        self._news: News | None = None
        self._on_renewal: Callable[[], None] = lambda: None
        code, host_log = CodeFile(generation.code), HostLog()
        hosts = host_settings(settings, code, host_log, generation.code)
        self._renewals = CodeRenewals(settings, code, host_log, self._adopt)
        self._executors = executors(settings, hosts, host_log, self._cluster_changed)
        self._cluster_problem = ""
        self._after_answers = AfterAnswers()
        worker = this_process(access.service)
        self._traces = traces(settings, worker)
        self._questions = Questions(catalogue, self._ask)
        self._dispatcher = self._make_dispatcher(settings, catalogue)
        self._itself = ThisWorker(self._executors, self._dispatcher, generation.number)
        self._client = RegistryClient(
            self._dispatcher,
            _Counts(http_metrics, host_log),
            task_code(catalogue, generation.number),
            settled=self._settled,
            itself=self._itself,
            ring=ring,
        )
        self._connection = RegistryConnection(
            access.connect,
            worker,
            self._client,
            self._dispatcher,
            fence_seconds=settings.lease_seconds * FENCE_SHARE,
        )
        self._events = EventHub(access.connect, self._client.call)
        self.service = self._make_service(catalogue, validator(settings, hosts))
        self._declaring = Declaring(self.service.operations)
        self._declared = generation.number, generation.schedules
        self._draining_since: float | None = None
        self._guard = None if access.guard is None else Guard(access.guard)

    def _make_dispatcher(self, settings: Settings, catalogue: Catalogue) -> Dispatcher:
        return Dispatcher(
            self._executors,
            catalogue,
            environment(settings),
            settings.request_timeout_seconds,
            self._report,
            progress=self._progress,
            slots_changed=self._slots_changed,
            later=self._after_answers,
            traces=self._traces,
            questions=self._questions,
        )

    def _make_service(self, catalogue: Catalogue, validates: Validator | None) -> TaskService:
        return TaskService(
            self._client,
            self._dispatcher,
            catalogue,
            self._events,
            validates,
            lists=ListReader(self._access.connect),
            traces=self._traces,
        )

    def _report(self, report: Report) -> None:
        self._client.report(report)

    async def _ask(self, request: Request) -> Any:
        return await self._client.call(request)

    def _slots_changed(self) -> None:
        self._client.slots_changed()

    def _cluster_changed(self) -> None:
        problem = self._executors.cluster_problem()
        if problem != self._cluster_problem:
            self._cluster_problem = problem
            if problem:
                log.warning("Dask cluster takes no attempts; those of `dask` wait", reason=problem)
            else:
                log.info("Dask cluster takes attempts")
        self._client.slots_changed()
        self._client.nudge()

    def _settled(self, task_id: str) -> None:
        self._events.has_news(task_id)

    def _progress(self, task_id: str, attempt: int, fraction: float, message: str | None) -> None:
        self._client.progress(task_id, attempt, fraction, message)

    async def start(self) -> None:
        """Start the executors and join the registry."""
        self._executors.start()
        if self._guard is not None:
            self._guard.start()
        if self.service.validator is not None:
            self.service.validator.start()
        loop = asyncio.get_running_loop()
        self._after_answers.bind(loop)
        self._client.bind(loop)
        self._questions.bind(loop)
        self._connection.start()
        if not await asyncio.to_thread(self._connection.wait_joined, JOIN_SECONDS):
            log.error("registry does not answer yet; requests are refused until it does")
        self._declaring.begin(*self._declared)
        if self._news is not None:
            self._renewals.follow(self._news)

    def follow(self, news: News, on_renewal: Callable[[], None]) -> None:
        """Take to every generation of task code that is published, once this is started."""
        self._news, self._on_renewal = news, on_renewal

    def _adopt(
        self, generation: Generation, hosts: HostSettings, fresh: Validator | None
    ) -> Validator | None:
        self._catalogue.renew(generation.catalogue)
        former = self.service.renew(generation.catalogue, fresh)
        self._executors.renew(hosts)
        self._itself.renewed(generation.number)
        self._client.announce(task_code(self._catalogue, generation.number))
        self._declaring.begin(generation.number, generation.schedules)
        self._on_renewal()
        return former

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
            if self.service.validator is not None:
                self.service.validator.drain()
            self._renewals.drain()
            # Streams and waits would hold the connections, and those the stop.
            self._events.close()

    async def stop(self) -> None:
        """Let the attempts end, release the rest, send the last reports, and leave."""
        self.begin_drain()
        await self._renewals.end()
        await self._declaring.end()
        if not await asyncio.to_thread(
            self._dispatcher.drain, self._grace_left_seconds(), FLUSH_SECONDS
        ):
            log.warning("reports of attempts that were stopped are not answered yet")
        await asyncio.to_thread(self._executors.shutdown, EXECUTOR_STOP_SECONDS)
        if self.service.validator is not None:
            await asyncio.to_thread(self.service.validator.close, EXECUTOR_STOP_SECONDS)
        await asyncio.to_thread(self._connection.close, FLUSH_SECONDS)
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close, FLUSH_SECONDS)
        self._client.unbind()
        if self._guard is not None:
            await asyncio.to_thread(self._guard.stop)
        await asyncio.to_thread(self._access.close)

    def _grace_left_seconds(self) -> float:
        assert self._draining_since is not None
        return max(0.0, self._draining_since + self._settings.grace_seconds - time.monotonic())


class _Counts:
    """All that a worker counts."""

    def __init__(self, http: HttpMetrics, hosts: HostLog) -> None:
        self._http = http
        self._hosts = hosts

    @property
    def version(self) -> int:
        return self._http.version + self._hosts.version

    def counts(self) -> WorkerCounts:
        return self._http.counts()._replace(hosts=self._hosts.counts())
