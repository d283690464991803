"""Tasks that come again: schedules, by name."""

from __future__ import annotations

import time
from asyncio import sleep
from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import BackgroundTasks, Query, Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.asker import asker
from afterwards.api.checks import (
    BODY,
    Placed,
    catalogue_of,
    checked_payload,
    invalid,
    known_type,
    require_valid,
)
from afterwards.api.cursors import cursor_of, link_to_next, position_of
from afterwards.api.encoding import encoded
from afterwards.api.queries import require_once
from afterwards.api.redaction import MASK, redaction_of, restored, shown
from afterwards.api.references import reference
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schedule_document import results_document, schedule_document
from afterwards.api.schemas.fields import SCHEDULE_LOCATION
from afterwards.api.schemas.pages import page_answers
from afterwards.api.schemas.schedules import (
    NewSchedule,
    ScheduleDocument,
    ScheduleFilter,
    ScheduleName,
    SchedulePage,
)
from afterwards.api.schemas.tasks import TaskDocument
from afterwards.api.submission import service_of
from afterwards.api.task_document import base_document
from afterwards.api.uncached import uncached
from afterwards.errors import ScheduleDeclared, ScheduleNotFound
from afterwards.labels import stored
from afterwards.schedules.recurrence import check_cron, zone
from afterwards.schedules.schedule import NAME, Schedule
from afterwards.service.intake import TaskRequest
from afterwards.service.operations import Operations
from afterwards.system.large_bodies import aside

router = new_router("Schedules")


DECLARED: Final = str(ScheduleDeclared("daily-report", "shop.tasks"))

_UNKNOWN: Final = {404: ("No schedule has this name.", "There is no schedule 'daily-report'")}
_LOOKUP: Final = schemas.answers(404, 503, said=_UNKNOWN)


@router.get(
    "/schedules",
    summary="List the schedules",
    operation_id="listSchedules",
    response_model=SchedulePage,
    response_description="A page of schedules",
    responses=page_answers("ZGFpbHktcmVwb3J0", 500),
)
@needs(Role.VIEWER)
async def list_schedules(query: Annotated[ScheduleFilter, Query()], request: Request) -> Response:
    """List schedules by name, each with its next five due times.

    `payloads=true` adds their payloads, `results=true` the tasks of their latest due times.
    """
    require_once(request)
    page = await _operations(request).schedules(
        limit=query.limit,
        after=None if query.cursor is None else position_of(query.cursor, _name_of),
        payloads=query.payloads,
        results=query.results,
    )
    now = time.time()
    documents: list[dict[str, Any]] = []
    redaction = redaction_of(request)
    for schedule in page.schedules:
        masked = redaction.schedule(schedule)
        document = schedule_document(masked, now, with_payload=query.payloads)
        if page.results is not None:
            document["results"] = results_document(page.results[schedule.name])
        documents.append(document)
        # Due times that nobody has asked for yet may take a millisecond and more to find.
        await sleep(0)
    cursor = None if page.next is None else cursor_of(page.next)
    answer = encoded({"schedules": documents, "next": cursor})
    if cursor is None:
        return uncached(answer)
    members = query.model_dump(exclude_unset=True, exclude_none=True, mode="json")
    following = urlencode({**members, "cursor": cursor})
    return uncached(answer, headers=link_to_next(following))


def _name_of(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise ValueError(text)
    return text


@router.get(
    "/schedules/{name}",
    summary="Get a schedule",
    operation_id="getSchedule",
    response_model=ScheduleDocument,
    response_description="The schedule",
    responses=_LOOKUP,
)
@needs(Role.VIEWER)
async def get_schedule(name: ScheduleName, request: Request) -> Response:
    """Show a schedule with its next five due times."""
    return await _shown(request, await _operations(request).schedule(name))


@router.put(
    "/schedules/{name}",
    summary="Create or replace a schedule",
    operation_id="putSchedule",
    response_model=ScheduleDocument,
    response_description="Replaced",
    responses=schemas.answers(
        409,
        415,
        422,
        503,
        headers_of={200: SCHEDULE_LOCATION},
        said={
            422: (
                "The name or the body is not valid. Nothing was done.",
                "#: send one of cron and every_seconds",
            ),
            409: (
                "A task module declares this schedule, or the limit of schedules is reached.",
                DECLARED,
            ),
        },
    )
    | {
        201: {
            "description": "Created",
            "model": ScheduleDocument,
            "headers": SCHEDULE_LOCATION,
        }
    },
)
@needs(Role.OPERATOR)
async def put_schedule(name: ScheduleName, new: NewSchedule, request: Request) -> Response:
    """Submit a task again and again: exactly one for each due time, restarts included.

    If the recurrence stays the same, a replaced schedule keeps its due times. A schedule that a
    task module declares is changed there.
    """
    size = len(await request.body())
    new = await _restored(request, name, new)
    payload = await aside(size, _payload, name, new, request)
    await require_valid(request, [Placed(new.type, payload, (*BODY, "payload"))])
    schedule = await aside(size, _schedule, name, new, payload, request)
    operations = _operations(request)
    made = await operations.put_schedule(schedule, asker(request))
    masked = redaction_of(request).schedule(await operations.schedule(name))
    document = encoded(schedule_document(masked, time.time()))
    location = reference(request.scope, f"/schedules/{name}")
    return uncached(document, 201 if made else 200, {"Location": location})


@router.delete(
    "/schedules/{name}",
    summary="Delete a schedule",
    operation_id="deleteSchedule",
    status_code=204,
    response_description="Deleted",
    responses=schemas.answers(
        404, 409, 503, said=_UNKNOWN | {409: ("A task module declares this schedule.", DECLARED)}
    ),
)
@needs(Role.OPERATOR)
async def delete_schedule(name: ScheduleName, request: Request) -> Response:
    """Delete the schedule. Tasks that it has made stay.

    A schedule that a task module declares is deleted there.
    """
    await _operations(request).delete_schedule(name, asker(request))
    return Response(status_code=204)


@router.post(
    "/schedules/{name}/pause",
    summary="Pause a schedule",
    operation_id="pauseSchedule",
    response_model=ScheduleDocument,
    response_description="Paused",
    responses=_LOOKUP,
)
@needs(Role.OPERATOR)
async def pause_schedule(name: ScheduleName, request: Request) -> Response:
    """Make no tasks until the schedule is resumed.

    The schedule does not make up for due times of the pause.
    """
    by = asker(request)
    return await _shown(
        request, await _operations(request).pause_schedule(name, paused=True, by=by)
    )


@router.post(
    "/schedules/{name}/resume",
    summary="Resume a schedule",
    operation_id="resumeSchedule",
    response_model=ScheduleDocument,
    response_description="Resumed",
    responses=_LOOKUP,
)
@needs(Role.OPERATOR)
async def resume_schedule(name: ScheduleName, request: Request) -> Response:
    """Make tasks again, from the next due time on."""
    by = asker(request)
    resumed = await _operations(request).pause_schedule(name, paused=False, by=by)
    return await _shown(request, resumed)


@router.post(
    "/schedules/{name}/run",
    summary="Run a schedule now",
    operation_id="runSchedule",
    status_code=202,
    response_model=TaskDocument,
    response_description="The task that was made",
    responses=schemas.answers(
        404,
        409,
        503,
        said=_UNKNOWN | {409: schemas.UNIQUE_KEY_TAKEN},
        headers_of={202: schemas.TASK_LOCATION},
    ),
)
@needs(Role.OPERATOR)
async def run_schedule(
    name: ScheduleName, background: BackgroundTasks, request: Request
) -> Response:
    """Submit the schedule's task once more, now. Its due times stay. It may be paused."""
    task = await _operations(request).run_schedule(name, asker(request))
    background.add_task(service_of(request).start, task.id)
    location = reference(request.scope, f"/tasks/{task.id}")
    return uncached(base_document(await shown(request, task)), 202, {"Location": location})


def _operations(request: Request) -> Operations:
    return service_of(request).operations


async def _restored(request: Request, name: str, new: NewSchedule) -> NewSchedule:
    """The sent schedule, with what the one of this name has in the places of its masks."""
    if MASK.encode() not in await request.body():
        return new
    stored, type_name = b"{}", new.type
    with suppress(ScheduleNotFound):
        pattern = (await _operations(request).schedule(name)).pattern
        stored, type_name = pattern.payload, pattern.type
    payload = await restored(request, new.payload, stored, type_name)
    return new.model_copy(update={"payload": payload})


def _payload(name: str, new: NewSchedule, request: Request) -> bytes:
    """The payload of its tasks, once its name and its type are right."""
    if NAME.fullmatch(name) is None:
        allowed = "up to 100 letters, digits, '.', '_' and '-', no dot to begin with"
        raise invalid("name", ("path", "name"), f"a name has {allowed}")
    task_type = known_type(new.type, catalogue_of(request), (*BODY, "type"))
    return checked_payload(new.payload, task_type, (*BODY, "payload"))


def _schedule(name: str, new: NewSchedule, payload: bytes, request: Request) -> Schedule:
    try:
        where = "timezone"
        zone(new.timezone)
        if new.cron is not None:
            where = "cron"
            check_cron(new.cron)
    except ValueError as error:
        raise invalid("recurrence", (*BODY, where), str(error)) from None
    wanted = TaskRequest(
        new.type,
        payload,
        priority=new.priority,
        max_attempts=new.max_attempts,
        timeout_seconds=new.timeout_seconds,
        labels=stored(new.labels),
        concurrency_key=new.concurrency_key,
        unique_key=new.unique_key,
    )
    return Schedule(
        name=name,
        pattern=_operations(request).pattern(wanted),
        cron=new.cron,
        every_seconds=new.every_seconds,
        timezone=new.timezone,
        catch_up=new.catch_up,
        created_at=time.time(),
        paused=new.paused,
    )


async def _shown(request: Request, schedule: Schedule) -> Response:
    size = len(schedule.pattern.payload)
    masked = await aside(size, redaction_of(request).schedule, schedule)
    return uncached(encoded(schedule_document(masked, time.time())))
