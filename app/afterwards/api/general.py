"""Tasks of any type, one at a time: submitting it, looking it up."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import Final

from fastapi import BackgroundTasks, Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.checks import BODY, Placed, catalogue_of, checked_task, require_valid
from afterwards.api.conditions import is_known
from afterwards.api.idempotency import REPLAYED, key_of
from afterwards.api.lapses import while_allowed
from afterwards.api.limits import held
from afterwards.api.queries import flag_of
from afterwards.api.receivers import with_callback
from afterwards.api.redaction import shown, shown_details
from afterwards.api.references import reference
from afterwards.api.roles import Grant, Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas import fields
from afterwards.api.schemas.requests import NewTask
from afterwards.api.schemas.tasks import FullTaskDocument, TaskDocument
from afterwards.api.submission import fingerprint_of, service_of
from afterwards.api.task_document import base_document, full_document
from afterwards.api.waiting import Wait, wait_of
from afterwards.errors import AfterwardsError
from afterwards.lifecycle import Task
from afterwards.system.large_bodies import aside

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
_EXISTING: Final = (b"existing-task", b"true")


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
        None if key is None else await fingerprint_of(request),
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
