"""Batches: many tasks that are submitted together, all or none."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Sequence
from typing import Final

from fastapi import BackgroundTasks, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.checks import (
    BODY,
    Path,
    Placed,
    catalogue_of,
    checked_task,
    invalid,
    require_valid,
)
from afterwards.api.encoding import raw
from afterwards.api.idempotency import REPLAYED, key_of
from afterwards.api.receivers import with_callback
from afterwards.api.redaction import shown, shown_tasks
from afterwards.api.roles import Grant, Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.requests import Following, NewTask, NewTasks
from afterwards.api.schemas.tasks import TaskList
from afterwards.api.submission import fingerprint_of, service_of
from afterwards.api.task_document import base_document, list_document
from afterwards.lifecycle import Follows
from afterwards.service.intake import TaskRequest, Then
from afterwards.system.large_bodies import aside
from afterwards.task_types.description import Catalogue

router = new_router("Tasks of any type")

_JSON: Final = "application/json"
_SUBMITTING_MANY: Final = schemas.accepting(202, headers={})
_SUBMITTING_MANY["responses"] |= schemas.answers(409, said={409: schemas.UNIQUE_KEY_TAKEN})

_IN_BATCH: Final = "in a batch a conflict refuses all tasks; send reject, or leave it out"

_CHECKED_AT_ONCE: Final = 50
"""Payloads of a batch that are validated before others get their turn."""


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
        None if key is None else await fingerprint_of(request),
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
