"""Tasks of any type: submitting one or many, looking one up, listing them."""

from __future__ import annotations

import base64
import hashlib
import json
from asyncio import sleep
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import BackgroundTasks, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from afterwards.api import schemas, times
from afterwards.api.checks import (
    BODY,
    Path,
    Placed,
    catalogue_of,
    checked_task,
    invalid,
    require_valid,
)
from afterwards.api.conditions import is_known
from afterwards.api.encoding import raw
from afterwards.api.idempotency import REPLAYED, key_of
from afterwards.api.lapses import while_allowed
from afterwards.api.limits import held
from afterwards.api.queries import flag_of, require_once
from afterwards.api.receivers import with_callback
from afterwards.api.redaction import redaction_of, shown, shown_details, shown_tasks
from afterwards.api.references import reference
from afterwards.api.roles import Grant, Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas import fields
from afterwards.api.schemas.requests import (
    Following,
    NewTask,
    NewTasks,
    TaskConditions,
    TaskFilter,
)
from afterwards.api.schemas.tasks import (
    FullTaskDocument,
    TaskCount,
    TaskDocument,
    TaskList,
    TaskPage,
)
from afterwards.api.submission import service_of
from afterwards.api.task_document import (
    base_document,
    full_document,
    list_document,
    summary_document,
)
from afterwards.api.task_filter import (
    REPEATABLE,
    continued,
    filter_of,
    page_cursor,
    page_end,
)
from afterwards.api.waiting import Wait, wait_of
from afterwards.errors import AfterwardsError
from afterwards.lifecycle import Follows, Task
from afterwards.registry.protocol.answers import Scan
from afterwards.registry.protocol.filters import Order
from afterwards.service.intake import TaskRequest, Then, fingerprint_of_json
from afterwards.system.large_bodies import aside
from afterwards.task_types.description import Catalogue

router = new_router("Tasks of any type")

_JSON: Final = "application/json"
_SUBMITTED_HEADERS: Final = schemas.TASK_LOCATION | fields.PREFERENCE_APPLIED | fields.EXISTING_TASK
_SUBMITTING: Final = schemas.accepting(
    202, headers=_SUBMITTED_HEADERS, parameters=[fields.WAIT, fields.PREFER]
)
_SUBMITTING["responses"][200] = {
    "description": "Accepted, and finished during the wait",
    "model": TaskDocument,
    "headers": _SUBMITTED_HEADERS | fields.REPLAYED,
}
_SUBMITTING["responses"] |= schemas.answers(409, said={409: schemas.UNIQUE_KEY_TAKEN})
_SUBMITTING_MANY: Final = schemas.accepting(202, headers={})
_SUBMITTING_MANY["responses"] |= schemas.answers(409, said={409: schemas.UNIQUE_KEY_TAKEN})

_EXISTING: Final = (b"existing-task", b"true")
_IN_BATCH: Final = "in a batch a conflict refuses all tasks; send reject, or leave it out"

_WRONG_QUERY: Final = (
    "The query is not valid.",
    "#/limit: Input should be less than or equal to 500",
)

MAX_COUNT: Final = 10_000

_CHECKED_AT_ONCE: Final = 50
"""Payloads of a batch that are validated before others get their turn."""


@router.get(
    "/tasks",
    summary="List tasks",
    operation_id="listTasks",
    response_model=TaskPage,
    response_description="A page of tasks",
    responses=schemas.answers(
        422,
        503,
        headers_of={200: {"Link": fields.header("The next page.", '<?cursor=MTI0NQ>; rel="next"')}},
        said={422: _WRONG_QUERY},
    ),
)
@needs(Role.VIEWER)
async def list_tasks(query: Annotated[TaskFilter, Query()], request: Request) -> Response:
    """List tasks, newest first unless `order` says otherwise. New tasks never shift a page.

    If no index knows what is asked for (a search, or several conditions), a page ends after a
    tenth of a second, and `scan` says how far it came.
    """
    require_once(request, REPEATABLE)
    order = Order(query.order)
    page = await service_of(request).lists.find(
        filter_of(query, redaction_of(request)),
        order=order,
        limit=query.limit,
        before=None if query.cursor is None else page_end(query.cursor, order),
        summary=query.summary,
    )
    headers = {"Cache-Control": "no-store"}
    cursor = None
    if page.next is not None:
        cursor = page_cursor(page.next, order)
        headers["Link"] = f'<?{continued(query, cursor)}>; rel="next"'
    document = summary_document if query.summary else base_document
    waiting = page.waiting
    tasks = await shown_tasks(request, page.tasks)
    documents = (document(task, page.progress.get(task.id), waiting.get(task.id)) for task in tasks)
    answer = list_document(documents, next=cursor, scan=_scan(page.scan))
    return Response(answer, headers=headers, media_type=_JSON)


def _scan(scan: Scan | None) -> dict[str, Any] | None:
    if scan is None:
        return None
    reached = None if scan.reached is None else times.shown_time(scan.reached)
    return {"examined": scan.examined, "reached": reached, "complete": scan.complete}


@router.get(
    "/tasks/count",
    summary="Count tasks",
    operation_id="countTasks",
    response_model=TaskCount,
    response_description="The number of matching tasks",
    responses=schemas.answers(422, 503, said={422: _WRONG_QUERY}),
)
@needs(Role.VIEWER)
async def count_tasks(query: Annotated[TaskConditions, Query()], request: Request) -> Response:
    """Count the tasks that a list with the same query has, up to 10,000 or as far as a scan comes.

    Counts by state and type alone are exact however large they are.
    """
    require_once(request, REPEATABLE)
    counted = await service_of(request).lists.count(
        filter_of(query, redaction_of(request)), MAX_COUNT
    )
    answer = json.dumps({"count": counted.number, "exact": counted.exact})
    return Response(answer, headers={"Cache-Control": "no-store"}, media_type=_JSON)


@router.post(
    "/tasks",
    summary="Submit a task",
    operation_id="submitTask",
    response_model=TaskDocument,
    response_description="Accepted",
    **_SUBMITTING,
)
@needs(Role.SUBMITTER, grant=Grant.SUBMIT)
async def submit_task(new: NewTask, background: BackgroundTasks, request: Request) -> Response:
    """Submit a task, to run now, after a delay or at a given time.

    With `wait`, the answer is a 200 as soon as the task is finished, or a 202 when the time is up.
    """
    wait = wait_of(request)
    key = key_of(request.scope)
    service = service_of(request)
    size = len(await request.body())
    wanted = await aside(size, checked_task, new, catalogue_of(request))
    wanted = with_callback(request, wanted, new, BODY)
    await require_valid(request, [Placed(wanted.type, wanted.payload, (*BODY, "payload"))])
    accepted = await service.submissions.submit_one(
        wanted,
        key,
        None if key is None else await _fingerprint(request),
        request.scope["headers"],
    )
    task = accepted.task
    if wait.seconds:
        task = await _waited(request, task, wait.seconds)
    else:
        background.add_task(service.start, task.id)
    response = _submitted(request, await shown(request, task), wait)
    if accepted.replayed:
        response.raw_headers.append(REPLAYED)
    if accepted.existing:
        response.raw_headers.append(_EXISTING)
    return response


async def _fingerprint(request: Request) -> bytes:
    body = await request.body()
    return await aside(len(body), fingerprint_of_json, body)


async def _waited(request: Request, task: Task, seconds: float) -> Task:
    service = service_of(request)
    await service.start(task.id)
    # It is accepted, whatever becomes of the waiting; an error would say that it is not.
    with suppress(AfterwardsError), held(request.scope, "waits"):
        return await while_allowed(request, service.wait(task.id, seconds))
    return task


def _submitted(request: Request, task: Task, wait: Wait) -> Response:
    status = 200 if wait.seconds and task.state.is_final else 202
    location = reference(request.scope, f"/tasks/{task.id}")
    headers = {"Location": location, **wait.headers()}
    return Response(base_document(task), status, headers, _JSON)


@router.post(
    "/tasks/batch",
    summary="Submit many tasks",
    operation_id="submitTasks",
    response_model=TaskList,
    response_description="All accepted",
    **_SUBMITTING_MANY,
)
@needs(Role.SUBMITTER, grant=Grant.SUBMIT)
async def submit_tasks(batch: NewTasks, background: BackgroundTasks, request: Request) -> Response:
    """Submit up to 1,000 tasks, all or none. The answer lists them in the same order.

    With `then`, one more task is accepted with them. It starts when all of them are finished, and
    can read their results.
    """
    key = key_of(request.scope)
    service = service_of(request)
    wanted: list[TaskRequest] = []
    size = len(await request.body())
    for first in range(0, len(batch.tasks), _CHECKED_AT_ONCE):
        part = batch.tasks[first : first + _CHECKED_AT_ONCE]
        checked, wrong = await aside(size, _checked_tasks, part, catalogue_of(request), first)
        checked = [
            with_callback(request, one, new, (*BODY, "tasks", index))
            for index, (one, new) in enumerate(zip(checked, part, strict=False), first)
        ]
        await require_valid(request, _placed(checked, first))
        if wrong is not None:
            raise wrong
        wanted += checked
        if len(part) == _CHECKED_AT_ONCE:
            await sleep(0)
    then = None if batch.then is None else await _checked_then(request, batch.then)
    accepted = await service.submissions.submit_batch(
        wanted,
        key,
        None if key is None else await _fingerprint(request),
        request.scope["headers"],
        then=then,
    )
    background.add_task(service.start, *(task.id for task in accepted.tasks))
    tasks = await shown_tasks(request, accepted.tasks)
    follower = accepted.then and raw(base_document(await shown(request, accepted.then)))
    answer = list_document(map(base_document, tasks), then=follower)
    response = Response(answer, 202, media_type=_JSON)
    if accepted.replayed:
        response.raw_headers.append(REPLAYED)
    return response


async def _checked_then(request: Request, then: Following) -> Then:
    path = (*BODY, "then")
    wanted = _checked_in_batch(then, catalogue_of(request), path)
    wanted = with_callback(request, wanted, then, path)
    await require_valid(request, [Placed(wanted.type, wanted.payload, (*path, "payload"))])
    return Then(wanted, Follows(then.on))


def _checked_in_batch(new: NewTask | Following, catalogue: Catalogue, path: Path) -> TaskRequest:
    if new.on_conflict not in (None, "reject"):
        raise invalid("on_conflict", (*path, "on_conflict"), _IN_BATCH)
    return checked_task(new, catalogue, path)


def _checked_tasks(
    part: Sequence[NewTask], catalogue: Catalogue, first: int
) -> tuple[list[TaskRequest], RequestValidationError | None]:
    """The tasks up to the first that is wrong, and what is wrong with that."""
    wanted: list[TaskRequest] = []
    for index, new in enumerate(part, first):
        try:
            wanted.append(_checked_in_batch(new, catalogue, (*BODY, "tasks", index)))
        except RequestValidationError as error:
            return wanted, error
    return wanted, None


def _placed(wanted: Sequence[TaskRequest], first: int) -> list[Placed]:
    return [
        Placed(one.type, one.payload, (*BODY, "tasks", index, "payload"))
        for index, one in enumerate(wanted, first)
    ]


@router.get(
    "/tasks/{task_id}",
    summary="Get a task",
    operation_id="getTask",
    response_model=FullTaskDocument,
    response_description="The task",
    responses=schemas.answers(
        422,
        *schemas.KNOWN_PROBLEMS,
        headers_of={200: fields.ETAG | fields.PREFERENCE_APPLIED},
        said={
            422: (
                (
                    "`wait` is not a number of seconds, or `logs` or `tracebacks` is neither 0 "
                    "nor 1."
                ),
                "#/wait: must be a number of seconds, such as 20",
            )
        },
    )
    | {
        304: {
            "description": "The task is as it was in the answer that `If-None-Match` names.",
            "headers": fields.ETAG,
        }
    },
    openapi_extra={
        "parameters": [
            fields.WAIT,
            fields.PREFER,
            fields.LOGS,
            fields.TRACEBACKS,
            fields.IF_NONE_MATCH,
        ]
    },
)
@needs(Role.VIEWER)
async def get_task(task_id: schemas.TaskId, request: Request) -> Response:
    """Show the whole task, with every attempt.

    With `wait`, the answer comes as soon as the task is finished, or when the wait is over.
    """
    wait = wait_of(request)
    logs, tracebacks = flag_of(request, "logs"), flag_of(request, "tracebacks")
    service = service_of(request)
    if wait.seconds:
        with held(request.scope, "waits"):
            await while_allowed(request, service.wait(task_id, wait.seconds))
    details = await service.inspect(task_id, tracebacks=tracebacks)
    details = await shown_details(request, details)
    document = full_document(
        details, logs=logs, tracebacks=tracebacks, trace_link=request.app.state.trace_link
    )
    etag = f'"{base64.urlsafe_b64encode(hashlib.sha256(document).digest()[:15]).decode()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", **wait.headers()}
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(document, headers=headers, media_type=_JSON)
