"""A stand-in for the service in the tests of an application that uses it: `FakeAfterwards`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import httpx

from afterwards_client.async_client import AsyncClient
from afterwards_client.client import Client
from afterwards_client.tasks import Task, TaskDetails, TaskSummary
from afterwards_client.testing.clock import FakeClock
from afterwards_client.testing.installed import installed, quick
from afterwards_client.testing.list_routes import ListRoutes
from afterwards_client.testing.notices import Delivery, notice_of, signed
from afterwards_client.testing.problems import Refusal
from afterwards_client.testing.record import Record
from afterwards_client.testing.routes import Routes, base_path
from afterwards_client.testing.schedule_routes import ScheduleRoutes
from afterwards_client.testing.store import Store
from afterwards_client.testing.task_routes import TaskRoutes
from afterwards_client.testing.task_types import FakeTypes, Run
from afterwards_client.testing.transport import FakeTransport
from afterwards_client.testing.webhook_routes import WebhookRoutes
from afterwards_client.testing.work import do_due, ending_with, failing_with
from afterwards_client.times import seconds_of

URL: Final = "http://afterwards.test"
_AWAY_SECONDS: Final = 1.0
"""The time that passes with each request to a service that is away."""

AnyTask = Task | TaskSummary | str
"""A task, or its id."""


class FakeAfterwards:
    """A service without processes, network and disk, for one test.

    It answers the client's calls and refuses what the service would refuse. It runs no work: a task
    waits until the test says how it ends. Within `with`, each `Client` and `AsyncClient` that is
    made talks to it, whatever its URL.

    Args:
        types: the task types, as task types or by their names, each with what takes its payload: a
            pydantic model, a function that raises `ValueError`, or None for anything. Others are
            refused then. None: every name is a type that takes anything.
        deliver: is called with each `Delivery` of a notice, as soon as a task ends; None: they are
            kept for `take_deliveries`.
    """

    def __init__(
        self,
        types: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        deliver: Callable[[Delivery], object] | None = None,
    ) -> None:
        self._clock = FakeClock()
        self._types = FakeTypes(types)
        self._store = Store(self._clock, self._types)
        self._webhooks = WebhookRoutes(
            self._clock, lambda: list(self._store), self._store.get, deliver
        )
        self._store.ended = self._webhooks.tell
        self._routes = Routes()
        # Before those for one task, whose id could be any word.
        ListRoutes(self._store, self._clock).add_to(self._routes)
        TaskRoutes(self._store, self._types, self._clock).add_to(self._routes)
        ScheduleRoutes(self._store, self._types, self._clock).add_to(self._routes)
        self._webhooks.add_to(self._routes)
        self._trouble: Callable[[httpx.Request], httpx.Response] | None = None
        self._installed: AbstractContextManager[None] | None = None
        self.transport: Final = FakeTransport(self._answer)
        """For an httpx client of the test's own."""
        self.requests: Final[list[httpx.Request]] = []
        """Every request, in its order."""

    # -- clients -------------------------------------------------------------------------------

    def client(self, base_url: str = URL, **options: Any) -> Client:
        """A client of it; the options are those of `Client`."""
        retries = quick(options.pop("retries", None), self._clock.monotonic)
        http = httpx.Client(transport=self.transport)
        return Client(base_url, retries=retries, http=http, **options)

    def async_client(self, base_url: str = URL, **options: Any) -> AsyncClient:
        """The same for an event loop."""
        retries = quick(options.pop("retries", None), self._clock.monotonic)
        http = httpx.AsyncClient(transport=self.transport)
        return AsyncClient(base_url, retries=retries, http=http, **options)

    def __enter__(self) -> Self:
        self._installed = installed(self.transport, self._clock.monotonic)
        self._installed.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._installed is not None
        self._installed.__exit__(kind, error, traceback)

    # -- what was submitted --------------------------------------------------------------------

    def tasks(self, type: str | None = None) -> list[TaskDetails]:  # noqa: A002 - the API's word
        """The tasks as they are now, in the order of their submission."""
        self._step()
        return [
            TaskDetails.of(json.loads(json.dumps(one.details())))
            for one in self._store
            if type is None or one.type == type
        ]

    def task(self, task: AnyTask) -> TaskDetails:
        """One task as it is now.

        Raises:
            KeyError: there is none.
        """
        self._step()
        return TaskDetails.of(json.loads(json.dumps(self._record(task).details())))

    # -- how tasks end -------------------------------------------------------------------------

    def succeeds(self, type: str, result: Mapping[str, Any] | None = None) -> None:  # noqa: A002 - the API's word
        """Have each task of this type succeed as soon as it is due."""
        self.runs(type, ending_with(result or {}))

    def fails(self, type: str, error: str) -> None:  # noqa: A002 - the API's word
        """Have each task of this type fail as soon as it is due."""
        self.runs(type, failing_with(error))

    def runs(self, type: str, run: Run | None) -> None:  # noqa: A002 - the API's word
        """Have each task of this type run this once it is due, right after the request's answer.

        Args:
            run: takes the payload and gives the result. What it raises fails the task: whether the
                service would try it again is the policy of the type. None: tasks wait again.
        """
        found = self._types.find(type)
        if found is None:
            raise KeyError(type)
        found.run = run
        self._step()

    def start(self, task: AnyTask) -> None:
        """Have an attempt at a task begin, which goes on until the test ends it."""
        self._store.start(self._unfinished(task))

    def report_progress(self, task: AnyTask, fraction: float, message: str | None = None) -> None:
        """Have a task tell how far it is; it is started before, if it has to be."""
        record = self._unfinished(task)
        self._store.start(record)
        self._store.report_progress(record, fraction, message)

    def succeed(
        self,
        task: AnyTask,
        result: Mapping[str, Any] | None = None,
        *,
        artifacts: Mapping[str, bytes] | None = None,
    ) -> None:
        """End a task well; it is started before, if it has to be.

        Args:
            artifacts: the files that it has made, by name.
        """
        record = self._unfinished(task)
        self._store.start(record)
        record.result = json.loads(json.dumps(result or {}, allow_nan=False))
        record.artifacts = dict(artifacts or {})
        self._store.end(record, "success")
        self._step()

    def fail(self, task: AnyTask, error: str, *, again_in: float | timedelta | None = None) -> None:
        """Have an attempt at a task fail; it is started before, if it has to be.

        Args:
            again_in: another attempt follows after that time, in seconds unless it says otherwise.
                None: the task is failed.
        """
        record = self._unfinished(task)
        self._store.start(record)
        if again_in is None:
            self._store.end(record, "failed", error)
        else:
            self._store.back_off(record, error, seconds_of(again_in) or 0.0)
        self._step()

    def advance(self, by: float | timedelta) -> None:
        """Let time pass, in seconds unless it says otherwise: what is due by then becomes due."""
        self._clock.advance(timedelta(seconds=seconds_of(by) or 0.0))
        self._step()

    # -- notices -------------------------------------------------------------------------------

    @property
    def callback_secret(self) -> str:
        """The secret that signs notices to callbacks without one of their own."""
        return self._webhooks.callback_secret

    def take_deliveries(self) -> list[Delivery]:
        """The notices since the last call: POST them to the application's receiver."""
        self._step()
        taken, self._webhooks.deliveries = self._webhooks.deliveries, []
        return taken

    def notice(self, task: AnyTask, secret: str, url: str = "http://receiver.test/") -> Delivery:
        """The notice of a finished task, signed with a secret, whether or not a webhook is there.

        Raises:
            ValueError: the task is not finished.
        """
        record = self._record(task)
        if not record.is_final:
            raise ValueError(f"Task {record.id} is {record.status}, and not finished")
        return signed(notice_of(record), url, None, [secret])

    # -- trouble -------------------------------------------------------------------------------

    @contextmanager
    def away(self) -> Iterator[None]:
        """Meanwhile nothing answers: clients raise `ConnectionFailed`, at once."""

        def refuse(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("Connection refused", request=request)

        with self._in_trouble(refuse):
            yield

    @contextmanager
    def full(self, status: int = HTTPStatus.SERVICE_UNAVAILABLE) -> Iterator[None]:
        """Meanwhile all is refused: clients raise `Unavailable`, at once."""
        detail = "There are too many unfinished tasks; try again later"
        refusal = Refusal(status, detail, headers={"Retry-After": "1"})
        with self._in_trouble(lambda _: refusal.response()):
            yield

    @contextmanager
    def _in_trouble(self, answer: Callable[[httpx.Request], httpx.Response]) -> Iterator[None]:
        former, self._trouble = self._trouble, answer
        try:
            yield
        finally:
            self._trouble = former

    # -- how -----------------------------------------------------------------------------------

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self._trouble is not None:
            # Otherwise a patient client would be so without an end.
            self._clock.advance(timedelta(seconds=_AWAY_SECONDS))
            return self._trouble(request)
        self._step()
        try:
            response = self._routes.answer(request, base_path(request))
        except Refusal as refusal:
            response = refusal.response()
        # After the answer is made, as the service does it.
        self._step()
        return response

    def _step(self) -> None:
        do_due(self._store, self._types)

    def _record(self, task: AnyTask) -> Record:
        task_id = task if isinstance(task, str) else task.id
        try:
            return self._store.get(task_id)
        except Refusal as refusal:
            raise KeyError(f"{task_id}: {refusal.detail}") from None

    def _unfinished(self, task: AnyTask) -> Record:
        self._step()
        record = self._record(task)
        if record.is_final:
            raise ValueError(f"Task {record.id} is {record.status} already")
        return record
