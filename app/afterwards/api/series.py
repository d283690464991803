"""Series of the past: counts, waits and runs by spans of time."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.compression import fitting
from afterwards.api.queries import require_once
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.series import SeriesDocument, SeriesFilter
from afterwards.api.submission import service_of

router = new_router("Statistics")


@router.get(
    "/stats/series",
    summary="Get series of the past",
    operation_id="getSeries",
    response_model=SeriesDocument,
    response_description="Columns of equal length, oldest first",
    responses=schemas.answers(
        422,
        503,
        said={422: ("The query is not valid.", "#/range: Input should be '1h', '24h' or '30d'")},
    ),
)
@needs(Role.VIEWER)
async def get_series(query: Annotated[SeriesFilter, Query()], request: Request) -> Response:
    """Tell what happened in the last hour, day or month, of one task type or of all.

    Series outlive restarts. The last bucket is not over yet. Buckets of a time in which the service
    was down are null.
    """
    require_once(request)
    document = await service_of(request).operations.series(query.range, query.type)
    content, headers = await fitting(request, document)
    headers = {**headers, "Cache-Control": "no-store"}
    return Response(content, headers=headers, media_type="application/json")
