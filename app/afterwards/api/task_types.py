"""The kinds of work, their rest, and the service on one page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from afterwards import __version__
from afterwards.api import schemas
from afterwards.api.asker import asker
from afterwards.api.checks import catalogue_of
from afterwards.api.live_statistics import slots_by_kind
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.task_types import (
    StatisticsDocument,
    TaskTypeDocument,
    TaskTypeList,
    TypeName,
)
from afterwards.api.submission import service_of
from afterwards.api.uncached import uncached
from afterwards.counts import SUBMITTED, TASKS, Cell, retrying
from afterwards.lifecycle import TaskState
from afterwards.registry.protocol.answers import Statistics
from afterwards.task_types.description import TypeDescription

router = new_router("Task types")

_UNCACHED: Final = {"Cache-Control": "no-store"}
_UNKNOWN: Final = {
    404: ("No task type has this name.", "There is no task type 'notifcation'; there are …")
}
_LOOKUP: Final = schemas.answers(404, 503, said=_UNKNOWN)


@router.get(
    "/task-types",
    summary="List the task types",
    operation_id="listTaskTypes",
    response_model=TaskTypeList,
    response_description="All task types",
    responses=schemas.answers(503),
)
@needs(Role.VIEWER)
async def list_task_types(request: Request) -> Response:
    """List task types, each with its payload schema and its numbers of tasks."""
    statistics = await service_of(request).operations.statistics()
    documents = [
        _document(request, task_type, statistics) for task_type in catalogue_of(request).values()
    ]
    return uncached({"task_types": documents})


@router.get(
    "/task-types/{name}",
    summary="Get a task type",
    operation_id="getTaskType",
    response_model=TaskTypeDocument,
    response_description="The task type",
    responses=_LOOKUP,
)
@needs(Role.VIEWER)
async def get_task_type(name: TypeName, request: Request) -> Response:
    """Show a task type with its payload schema and its numbers of tasks."""
    return await _shown(request, _known(request, name))


@router.post(
    "/task-types/{name}/pause",
    summary="Pause a task type",
    operation_id="pauseTaskType",
    response_model=TaskTypeDocument,
    response_description="Paused",
    responses=_LOOKUP,
)
@needs(Role.OPERATOR)
async def pause_task_type(name: TypeName, request: Request) -> Response:
    """Start no attempts of this type until it is resumed. The pause outlasts restarts.

    Tasks of the type are accepted, and wait. Running attempts go on.
    """
    task_type = _known(request, name)
    await service_of(request).operations.pause(name, asker(request))
    return await _shown(request, task_type)


@router.post(
    "/task-types/{name}/resume",
    summary="Resume a task type",
    operation_id="resumeTaskType",
    response_model=TaskTypeDocument,
    response_description="Resumed",
    responses=_LOOKUP
    | {204: {"description": "Resumed; the service no longer has this task type."}},
)
@needs(Role.OPERATOR)
async def resume_task_type(name: TypeName, request: Request) -> Response:
    """End the pause of a task type.

    A type that the service no longer has can be resumed, too. Its tasks then fail and say so.
    """
    operations = service_of(request).operations
    if name not in catalogue_of(request) and name in (await operations.statistics()).paused_types:
        await operations.resume(name, asker(request))
        return Response(status_code=204)
    task_type = _known(request, name)
    await operations.resume(name, asker(request))
    return await _shown(request, task_type)


@router.get(
    "/stats",
    summary="Get statistics of the service",
    operation_id="getStatistics",
    response_model=StatisticsDocument,
    response_description="The statistics",
    responses=schemas.answers(503),
)
@needs(Role.VIEWER)
async def get_statistics(request: Request) -> Response:
    """Statistics of the whole service, whichever worker answers. For graphs, use `/metrics`."""
    statistics = await service_of(request).operations.statistics()
    snapshot = statistics.snapshot
    by_type = {
        name: _by_status(snapshot.counts, name)
        for name in sorted({name for counter, name, _ in snapshot.counts if counter == TASKS})
    }
    return uncached(
        {
            "version": __version__,
            "uptime_seconds": round(statistics.uptime_seconds, 3),
            "workers": snapshot.workers,
            "tasks": _by_status(snapshot.counts),
            "retrying": retrying(snapshot.counts),
            "by_type": by_type,
            "submitted": sum(
                number
                for (counter, _, _), number in snapshot.counts.items()
                if counter == SUBMITTED
            ),
            "finished_per_second": round(statistics.finished_per_second, 3),
            "oldest_pending_seconds": round(snapshot.oldest_pending_seconds, 3),
            "slots": slots_by_kind(snapshot.slots),
            "paused_types": sorted(statistics.paused_types),
            "schedules": statistics.schedules,
            "journal_bytes": statistics.journal_bytes,
        }
    )


def _known(request: Request, name: str) -> TypeDescription:
    catalogue = catalogue_of(request)
    task_type = catalogue.get(name)
    if task_type is None:
        known = ", ".join(sorted(catalogue))
        raise HTTPException(404, f"There is no task type {name[:100]!r}; there are {known}")
    return task_type


async def _shown(request: Request, task_type: TypeDescription) -> Response:
    return uncached(
        _document(request, task_type, await service_of(request).operations.statistics())
    )


def _document(
    request: Request, task_type: TypeDescription, statistics: Statistics
) -> dict[str, Any]:
    rate = task_type.rate_limit
    return {
        "name": task_type.name,
        "executor": task_type.executor,
        "max_attempts": task_type.max_attempts,
        "timeout_seconds": task_type.timeout_seconds or request.app.state.timeout_seconds,
        "max_concurrency": task_type.max_concurrency,
        "rate_limit": None
        if rate is None
        else {"count": rate.count, "period_seconds": rate.period_seconds},
        "concurrency_per_key": task_type.concurrency_per_key,
        "paused": task_type.name in statistics.paused_types,
        "payload_schema": task_type.payload_schema,
        "tasks": _by_status(statistics.snapshot.counts, task_type.name),
    }


def _by_status(counts: Mapping[Cell, int], type_name: str | None = None) -> dict[str, int]:
    found = dict.fromkeys((state.value for state in TaskState), 0)
    for (counter, name, state), number in counts.items():
        if counter == TASKS and type_name in (None, name):
            found[str(state)] += number
    return found
