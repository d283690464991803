"""The client for programs without an event loop. `async_client` is its twin."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from afterwards_client import calls, flows
from afterwards_client.bulk import BulkCancel, BulkRetry
from afterwards_client.calls import Cancellation
from afterwards_client.events import Event
from afterwards_client.sender import Sender
from afterwards_client.subscription import Subscription
from afterwards_client.tasks import NewTask, Task, TaskDetails


class Client(Sender):
    """Connections to one service. Threads may share it. Close it, or use it with `with`.

    It holds any number of waits and streams at once, each on a connection of its own.

    Args:
        base_url: where the service is.
        timeout: seconds to connect to an address, and for an answer; waits and streams add their
            own. Names are looked up without a limit.
        retries: how patient it is; `Retries(total_seconds=0)` is not at all.
        headers: for every request, such as what a proxy before the service wants.
        http: an httpx client to use, which stays open; its limits, time limits and headers then
            count, and nothing is read from the environment.

    Raises:
        httpx.InvalidURL: `base_url` is none, or has a query or a fragment.
        InvalidArgument: one of `headers` cannot be sent; every method raises it for its own.
        WrongEnvironment: a variable about proxies or certificates cannot be used.
    """

    def submit(
        self,
        type: str,  # noqa: A002 - the API's word
        payload: Mapping[str, Any] | None = None,
        *,
        delay: float | timedelta | None = None,
        run_at: datetime | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        timeout: float | timedelta | None = None,
        deadline: datetime | None = None,
        idempotency_key: str | None = None,
        wait: float | timedelta | None = None,
    ) -> Task:
        """Hand over a task; when this returns, it is on the service's disk.

        Args:
            idempotency_key: one of your own makes repeated calls one task; without it, only the
                repetitions within this call are one.
            wait: how long to wait for the task's end; 0 is not at all. It bounds the whole call,
                with all that is tried again: the submission, which has a second at least, and then
                the wait, which ends up to two seconds late if the service falls silent. Once the
                task is accepted it is returned as it stood last, whatever ends the wait.

        Raises:
            ConnectionFailed, Unavailable: it is not known to be accepted, neither within `wait` nor
                by the patience of `retries`. Sent again under the same key, it is one task.
        """
        task = NewTask(type, payload, delay, run_at, priority, max_attempts, timeout, deadline)
        return self._run(flows.submit(task, idempotency_key, wait, self._retries))

    def submit_many(
        self, tasks: Sequence[NewTask], *, idempotency_key: str | None = None
    ) -> Sequence[Task]:
        """Hand over up to 1000 tasks, all or none. The order stays."""
        return self._run(flows.submit_many(tasks, idempotency_key, self._retries))

    def get(self, task_id: str, *, logs: bool = False) -> TaskDetails:
        """The task as it is now, with its history.

        Args:
            logs: with `log_lines`, what the last attempt that has ended has printed and logged.
        """
        return self._perform(calls.get(task_id, logs=logs))

    def wait(self, task_id: str, timeout: float | timedelta | None = None) -> TaskDetails:
        """The task as soon as it is finished, well or not.

        Raises:
            WaitTimeout: it was not in `timeout`, in which parts of a second count as a whole one.
            ConnectionFailed, Unavailable: the service was away for longer than the patience of
                `retries`, or than `timeout`; if it falls silent, that is seen up to two seconds
                after `timeout`.
        """
        return self._run(flows.wait_for(task_id, timeout, self._retries))

    def result(self, task_id: str, timeout: float | timedelta | None = None) -> Mapping[str, Any]:
        """The task's result as soon as there is one.

        Raises:
            TaskFailed: there will be none.
            WaitTimeout: see `wait`.
        """
        return self._run(flows.result_of(task_id, timeout, self._retries))

    def retry(
        self,
        task_id: str,
        payload: Mapping[str, Any] | None = None,
        *,
        new_type: str | None = None,
    ) -> Task:
        """Have a failed or cancelled task run again, with another payload if one is given.

        Args:
            new_type: the task type it moves to, which has to take its payload.

        Raises:
            Conflict: it is neither failed nor cancelled.
            ConnectionFailed, Unavailable: it may have been retried all the same.
        """
        return self._perform(calls.retry(task_id, payload=payload, new_type=new_type))

    def change(
        self,
        task_id: str,
        *,
        type: str | None = None,  # noqa: A002 - the API's word
        payload: Mapping[str, Any] | None = None,
        run_at: datetime | None = None,
    ) -> Task:
        """Change a scheduled task before it is due; what is not given stays.

        It is sent again when there was no answer: the same change twice is one.

        Args:
            type: the task type it moves to, which has to take its payload.
            run_at: when it is due, or at once if that is past.

        Raises:
            InvalidArgument: nothing is given.
            Conflict: it is not scheduled. If an answer was lost, the change may have been made
                all the same, and the task may have become due since: `get` shows it.
        """
        call = calls.change(task_id, type=type, payload=payload, run_at=run_at)
        return self._perform(call)

    def cancel(self, task_id: str) -> Cancellation:
        """Cancel a task; the outcome says whether that came in time."""
        return self._perform(calls.cancel(task_id))

    def retry_many(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the API's word
        status: str | Sequence[str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = None,
        payload: Mapping[str, Any] | None = None,
        new_type: str | None = None,
        dry_run: bool = False,
    ) -> BulkRetry:
        """Have all tasks run again that fit, the newest first.

        Args:
            status: `failed`, `cancelled` or both; without it, `failed`.
            limit: how many at most, up to 10,000; without it, 1,000.
            payload: takes the place of the payload of each.
            new_type: the task type they move to. Those whose payload it does not take are skipped.
            dry_run: change nothing, count only; `payload` and `new_type` are not looked at.

        Raises:
            ConnectionFailed, Unavailable: some may have been retried all the same.
        """
        call = calls.retry_many(
            type=type,
            status=status,
            created_after=created_after,
            created_before=created_before,
            limit=limit,
            payload=payload,
            new_type=new_type,
            dry_run=dry_run,
        )
        return self._perform(call)

    def cancel_many(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the API's word
        status: str | Sequence[str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = None,
        dry_run: bool = False,
    ) -> BulkCancel:
        """Cancel all unfinished tasks that fit, the newest first.

        Those that run are asked to stop, and their end is not waited for.

        Args:
            status: `scheduled`, `pending`, `processing` or several; without it, all three.
            limit: how many at most, up to 10,000; without it, 1,000.
            dry_run: change nothing, count only.

        Raises:
            ConnectionFailed, Unavailable: some may have been cancelled all the same.
        """
        call = calls.cancel_many(
            type=type,
            status=status,
            created_after=created_after,
            created_before=created_before,
            limit=limit,
            dry_run=dry_run,
        )
        return self._perform(call)

    def stream(
        self,
        task_id: str | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the API's word
        status: str | None = None,
        last_event_id: str | None = None,
    ) -> Generator[Event, None, None]:
        """The events of one task until its end, or of all without end.

        A connection that breaks is made again and goes on after the last event; what cannot be made
        up for is a ResetEvent or TaskEvent. The filters are for the stream of all. Leaving the loop
        early closes the connection.
        """
        filters = {"type": type, "status": status}
        subscription = Subscription(task_id, filters, last_event_id, self._retries)
        return self._follow(subscription)

    def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,  # noqa: A002 - the API's word
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Task]:
        """Tasks, newest first, up to `limit`; fetched page by page as they are taken."""
        listing = flows.Listing(
            limit,
            self._retries,
            status=status,
            type=type,
            created_after=created_after,
            created_before=created_before,
        )
        while not listing.is_over:
            yield from self._run(listing.next_page())
