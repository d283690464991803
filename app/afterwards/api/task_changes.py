"""Changes to tasks there are: other payloads, types and times; and their deletion."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import from_json
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.asker import asker
from afterwards.api.checks import (
    BODY,
    Placed,
    catalogue_of,
    checked_payload,
    known_type,
    require_for_clients,
    require_valid,
)
from afterwards.api.redaction import restored, shown
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.requests import TaskChange
from afterwards.api.schemas.tasks import TaskDocument
from afterwards.api.submission import service_of
from afterwards.api.task_document import base_document
from afterwards.errors import NotAllowed, UnknownTaskType
from afterwards.lifecycle import Task
from afterwards.service import bulk
from afterwards.service.bulk import AS_IT_WAS, Replacement
from afterwards.service.hidden import HIDDEN
from afterwards.system.large_bodies import aside

router = new_router("Tasks of any type")

_JSON: Final = "application/json"


@router.patch(
    "/tasks/{task_id}",
    summary="Change a scheduled task",
    operation_id="changeTask",
    response_model=TaskDocument,
    response_description="The changed task",
    responses=schemas.answers(409, 415, 422, *schemas.KNOWN_PROBLEMS),
)
@needs(Role.OPERATOR)
async def change_task(task_id: schemas.TaskId, change: TaskChange, request: Request) -> Response:
    """Change the payload, type or time of a task before it is due.

    A member that is left out stays as it is.
    """
    service = service_of(request)
    changes = AS_IT_WAS
    if change.payload is not None or change.type is not None:
        task = await service.get(task_id)
        changes = await replaced(request, task, change.payload, change.type, "type")
    task = await service.amend(task_id, changes, change.run_at, asker(request))
    return Response(base_document(await shown(request, task)), media_type=_JSON)


@router.delete(
    "/tasks/{task_id}",
    summary="Delete a finished task",
    operation_id="deleteTask",
    status_code=204,
    response_description="Deleted",
    responses=schemas.answers(
        409,
        *schemas.KNOWN_PROBLEMS,
        said={
            409: (
                "The task is not finished, or has the idempotency key of a batch that is kept.",
                f"Task {schemas.EXAMPLE_ID} is pending and cannot be deleted; cancel it first",
            )
        },
    ),
)
@needs(Role.OPERATOR)
async def delete_task(task_id: schemas.TaskId, request: Request) -> Response:
    """Delete a finished task and its history before its retention is over.

    Its idempotency key is free then. Further requests for it get a 410.
    """
    await service_of(request).delete(task_id, asker(request))
    return Response(status_code=204)


async def replaced(
    request: Request,
    task: Task,
    payload: dict[str, Any] | None,
    new_type: str | None,
    member: str = "new_type",
) -> Replacement:
    """The new payload and type of a task, validated.

    Raises:
        RequestValidationError: there is no such type, or it does not take the payload.
        UnknownTaskType: the task's own type is gone.
        Unvalidated: a host could not say whether it is valid.
        NotAllowed: that would tell what the sender may not see.
    """
    catalogue = catalogue_of(request)
    if new_type is not None:
        task_type = known_type(new_type, catalogue, (*BODY, member))
    elif task.type in catalogue:
        task_type = catalogue[task.type]
    else:
        raise UnknownTaskType(task.type)
    if task.type in catalogue:
        # Signed, it would be believed.
        require_for_clients(catalogue[task.type], (*BODY, member if payload is None else "payload"))
    size = max(len(task.payload), len(await request.body()))
    if payload is None and task.payload is HIDDEN:
        raise NotAllowed(
            "Another type takes the payload there is, or does not, and to find out needs a key "
            "with `payloads`; send a payload with it"
        )
    if payload is None:
        given = from_json(task.payload)
    else:
        given = await restored(request, payload, task.payload, task.type)
    path = (*BODY, "payload")
    stored = await aside(size, checked_payload, given, task_type, path)
    await require_valid(request, [Placed(task_type.name, stored, path)])
    kind = None if new_type is None else service_of(request).kind(new_type)
    return Replacement(None if payload is None else stored, kind)


async def prepared(
    request: Request, payload: dict[str, Any] | None, new_type: str | None
) -> bulk.Prepare:
    """A function that prepares the retry of each of many tasks, or leaves the task out.

    Raises:
        RequestValidationError: none can.
    """
    if payload is None and new_type is None:
        return bulk.unchanged
    if new_type is not None:
        task_type = known_type(new_type, catalogue_of(request), (*BODY, "new_type"))
        if payload is not None:
            size = len(await request.body())
            await aside(size, checked_payload, payload, task_type, (*BODY, "payload"))

    async def prepare(task: Task) -> Replacement | None:
        try:
            return await replaced(request, task, payload, new_type)
        except (RequestValidationError, UnknownTaskType):
            return None

    return prepare
