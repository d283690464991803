"""The client for programs with an event loop, asyncio's or trio's: `client`, awaited."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from afterwards_client import calls, flows
from afterwards_client.async_downloading import AsyncDownloading
from afterwards_client.async_many import AsyncManyTasks
from afterwards_client.async_operations import AsyncOperations
from afterwards_client.async_scheduling import AsyncScheduling
from afterwards_client.async_webhook_verbs import AsyncWebhookVerbs
from afterwards_client.calls import Cancellation
from afterwards_client.events import Event
from afterwards_client.groups import Batch, Group
from afterwards_client.new_task import Callback, NewTask
from afterwards_client.subscription import Subscription
from afterwards_client.tasks import Task, TaskDetails


class AsyncClient(
    AsyncManyTasks, AsyncScheduling, AsyncOperations, AsyncDownloading, AsyncWebhookVerbs
):
    """Connections to one service, for one event loop. Close it, or use it with `async with`.

    Its arguments and methods are those of `Client`, where they are described.
    """

    async def submit(
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
        labels: Mapping[str, str] | None = None,
        concurrency_key: str | None = None,
        unique_key: str | None = None,
        on_conflict: Literal["existing", "reject", "replace"] | None = None,
        callback: Callback | None = None,
        idempotency_key: str | None = None,
        wait: float | timedelta | None = None,
    ) -> Task:
        """Hand over a task; when this returns, it is on the service's disk.

        Args:
            labels: up to 8 pairs to find it by, such as its tenant.
            concurrency_key: only as many attempts at tasks of its type with this key run at once
                as the type allows, which is one unless it says otherwise.
            unique_key: at most one unfinished task of the same owner has it.
            on_conflict: what happens if another task has the unique key. `existing`, the default,
                returns that one. `reject` raises `Conflict`. `replace` cancels it if it waits, and
                raises `Conflict` if it runs.
            callback: a URL that is told of its end.
            idempotency_key: one of your own makes repeated calls one task; without it, only the
                repetitions within this call are one.
            wait: how long to wait for the task's end; 0 is not at all. It bounds the whole call,
                with all that is tried again: the submission, which has a second at least, and then
                the wait, which ends up to two seconds late if the service falls silent. Once the
                task is accepted it is returned as it stood last, whatever ends the wait.

        Raises:
            Conflict: another task has its unique key; `task_id` of the error names that one.
            ConnectionFailed, Unavailable: it is not known to be accepted, neither within `wait` nor
                by the patience of `retries`. Sent again under the same key, it is one task.
        """
        task = NewTask(
            type,
            payload,
            delay,
            run_at,
            priority,
            max_attempts,
            timeout,
            deadline,
            labels,
            concurrency_key,
            unique_key,
            on_conflict,
            callback,
        )
        return await self._run(flows.submit(task, idempotency_key, wait, self._retries))

    async def submit_many(
        self,
        tasks: Sequence[NewTask],
        *,
        then: NewTask | None = None,
        on: Literal["success", "finished"] | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Hand over up to 1000 tasks, all or none. The order stays.

        Args:
            then: one more task, which starts when all others are finished; `then` of the batch. It
                has no time of its own, neither `delay` nor `run_at`. To wait for the end of the
                others, `wait` for it.
            on: the condition for its start. `success`, the default: all have succeeded; the first
                that fails or is cancelled cancels it. `finished`: all are finished.

        Raises:
            Conflict: another task has the unique key of one of them, or two have the same.
            InvalidArgument: `on` is given without `then`.
        """
        flow = flows.submit_many(tasks, idempotency_key, self._retries, then, on)
        return await self._run(flow)

    async def group(self, group_id: str) -> Group:
        """The progress of a batch that another task follows, and that task.

        Args:
            group_id: the id of the task that follows, which is the `group` of the others.

        Raises:
            NotFound: there is no such task, or it follows no batch.
        """
        return await self._perform(calls.group(group_id))

    async def get(
        self, task_id: str, *, logs: bool = False, tracebacks: bool = False
    ) -> TaskDetails:
        """The task as it is now, with its history.

        Args:
            logs: with `log_lines`, what the last attempt that has ended has printed and logged.
            tracebacks: with the `traceback` of each attempt that has one; the last three keep it.
        """
        return await self._perform(calls.get(task_id, logs=logs, tracebacks=tracebacks))

    async def wait(self, task_id: str, timeout: float | timedelta | None = None) -> TaskDetails:
        """The task as soon as it is finished, well or not.

        Raises:
            WaitTimeout: it was not in `timeout`, in which parts of a second count as a whole one.
            ConnectionFailed, Unavailable: the service was away for longer than the patience of
                `retries`, or than `timeout`; if it falls silent, that is seen up to two seconds
                after `timeout`.
        """
        return await self._run(flows.wait_for(task_id, timeout, self._retries))

    async def result(
        self, task_id: str, timeout: float | timedelta | None = None
    ) -> Mapping[str, Any]:
        """The task's result as soon as there is one.

        Raises:
            TaskFailed: there will be none.
            WaitTimeout: see `wait`.
        """
        return await self._run(flows.result_of(task_id, timeout, self._retries))

    async def retry(
        self,
        task_id: str,
        payload: Mapping[str, Any] | None = None,
        *,
        new_type: str | None = None,
        run_at: datetime | None = None,
    ) -> Task:
        """Have a failed or cancelled task run again, with another payload if one is given.

        Args:
            new_type: the task type it moves to, which has to take its payload.
            run_at: when it is due, at once without it. The `run_at` of a cancelled task puts it
                back to where it was.

        Raises:
            Conflict: it is neither failed nor cancelled, or another task has its unique key.
            ConnectionFailed, Unavailable: it may have been retried all the same.
        """
        call = calls.retry(task_id, payload=payload, new_type=new_type, run_at=run_at)
        return await self._perform(call)

    async def change(
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
        return await self._perform(call)

    async def run(self, task_id: str) -> Task:
        """Make a scheduled task due, also one that waits for another attempt.

        It is sent again when there was no answer.

        Raises:
            Conflict: it is not scheduled. If an answer was lost, it may have been so until then.
        """
        return await self._perform(calls.run(task_id))

    async def delete(self, task_id: str) -> None:
        """Delete a finished task and its history, before its retention is over.

        It is sent again when there was no answer: a task that is gone then is deleted.

        Raises:
            Conflict: it is not finished, or is the first of a batch others of which are kept.
            Gone: it was deleted before.
        """
        await self._perform(calls.delete(task_id))

    async def cancel(self, task_id: str, *, children: bool = False) -> Cancellation:
        """Cancel a task; the outcome says whether that came in time.

        Args:
            children: also all that it has submitted, what that has submitted, and so on, and the
                members of the group that it follows. A finished task may have such, too.
        """
        return await self._perform(calls.cancel(task_id, children=children))

    def stream(
        self,
        task_id: str | None = None,
        *,
        type: str | Sequence[str] | None = None,  # noqa: A002 - the API's word
        status: str | Sequence[str] | None = None,
        task_ids: Sequence[str] | None = None,
        last_event_id: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """The events of one task until its end, or of all without end.

        A connection that breaks is made again and goes on after the last event; what cannot be made
        up for is a ResetEvent or TaskEvent. The filters are for the stream of all, and so is
        `task_ids`, up to 100. Leaving the loop early closes the connection only in time with
        `contextlib.aclosing` around the stream.
        """
        filters = {"type": type, "status": status, "task_id": task_ids}
        subscription = Subscription(task_id, filters, last_event_id, self._retries)
        return self._follow(subscription)
