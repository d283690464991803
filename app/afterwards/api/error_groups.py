"""Why tasks are failed: groups of the same error."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.queries import require_once
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.error_groups import (
    ERROR_ID,
    ErrorFilter,
    ErrorGroupDocument,
    ErrorGroupList,
    ErrorIdPath,
)
from afterwards.api.submission import service_of
from afterwards.api.times import shown_time
from afterwards.api.uncached import uncached
from afterwards.errors import ErrorGroupNotFound
from afterwards.registry.protocol.answers import ErrorGroup

router = new_router("Errors")

_UNKNOWN = {
    404: (
        "No group has this id.",
        "There is no error group '5f0c9a1be27d4c83'; it may have no tasks any more",
    )
}


@router.get(
    "/errors",
    summary="List error groups",
    operation_id="listErrors",
    response_model=ErrorGroupList,
    response_description="Groups of the tasks that are failed now",
    responses=schemas.answers(
        422,
        503,
        said={
            422: ("The query is not valid.", "#/order: Input should be 'count' or 'latest'"),
        },
    ),
)
@needs(Role.VIEWER)
async def list_errors(query: Annotated[ErrorFilter, Query()], request: Request) -> Response:
    """Group the tasks that are failed now by type and error, but for ids, numbers and quotes.

    A group goes when its last task is retried or deleted. `error=ID` lists its tasks, and retries
    them.
    """
    require_once(request)
    page = await service_of(request).lists.errors(
        type_name=query.type, latest_first=query.order == "latest", limit=query.limit
    )
    groups = [_document(one, request) for one in page.groups]
    return uncached({"groups": groups, "ungrouped": page.ungrouped})


@router.get(
    "/errors/{error_id}",
    summary="Get an error group",
    operation_id="getError",
    response_model=ErrorGroupDocument,
    response_description="The group",
    responses=schemas.answers(404, 503, said=_UNKNOWN),
)
@needs(Role.VIEWER)
async def get_error(error_id: ErrorIdPath, request: Request) -> Response:
    """Show one group."""
    if ERROR_ID.fullmatch(error_id) is not None:
        page = await service_of(request).lists.errors(error=error_id)
        for group in page.groups:
            return uncached(_document(group, request))
    raise ErrorGroupNotFound(error_id)


def _document(group: ErrorGroup, request: Request) -> dict[str, Any]:
    is_seen = request.scope["principal"].sees_payloads
    return {
        "id": group.id,
        "type": group.type,
        "message": group.message if is_seen else None,
        **({} if is_seen else {"redacted": True}),
        "count": group.number,
        "first_seen": shown_time(group.first_seen),
        "last_seen": shown_time(group.last_seen),
        "series": group.series,
        "sample_ids": group.sample_ids,
    }
