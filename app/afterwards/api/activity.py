"""The log of activity: what people have done by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Query, Request
from starlette.responses import Response

from afterwards.api.cursors import cursor_of, link_to_next, number_of, position_of
from afterwards.api.queries import require_once
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.activity import ActivityDocument, ActivityFilter, AuditDocument
from afterwards.api.schemas.pages import page_answers
from afterwards.api.submission import service_of
from afterwards.api.times import shown_time
from afterwards.api.uncached import uncached
from afterwards.registry.protocol.activity import Entry

router = new_router("Activity")

_ANSWERS: Final = page_answers("MTI0NQ", 500)


@router.get(
    "/activity",
    summary="List what was done by hand",
    operation_id="listActivity",
    response_model=ActivityDocument,
    response_description="A page of the log",
    responses=_ANSWERS,
)
@needs(Role.VIEWER)
async def list_activity(query: Annotated[ActivityFilter, Query()], request: Request) -> Response:
    """List what people have done to tasks, task types, schedules and keys, newest first.

    Refused requests are there, too. Submissions are not. A verb for many tasks is one entry.
    """
    return await _page(query, request, _document)


@router.get(
    "/audit",
    summary="List what was done by hand, with keys and addresses",
    operation_id="listAudit",
    response_model=AuditDocument,
    response_description="A page of the log",
    responses=_ANSWERS,
)
@needs(Role.ADMIN)
async def list_audit(query: Annotated[ActivityFilter, Query()], request: Request) -> Response:
    """List the same log with the id of the key that was shown, and the client's address."""
    return await _page(query, request, _audited)


async def _page(
    query: ActivityFilter, request: Request, document: Callable[[Entry], dict[str, Any]]
) -> Response:
    require_once(request)
    page = await service_of(request).operations.activity(
        limit=query.limit,
        before=None if query.cursor is None else position_of(query.cursor, number_of),
    )
    headers = {}
    cursor = None
    if page.next is not None:
        cursor = cursor_of(str(page.next))
        following = urlencode({**query.model_dump(exclude_unset=True), "cursor": cursor})
        headers = link_to_next(following)
    answer = {"entries": [document(entry) for entry in page.entries], "next": cursor}
    return uncached(answer, headers=headers)


def _audited(entry: Entry) -> dict[str, Any]:
    return {**_document(entry), "key_id": entry.key_id, "address": entry.address}


def _document(entry: Entry) -> dict[str, Any]:
    # Without its address and key, which not all readers of this may know.
    return {
        "at": shown_time(entry.at),
        "actor": entry.actor,
        "verb": entry.verb,
        "object": entry.object,
        "name": entry.name,
        "count": entry.affected,
        "outcome": entry.outcome,
        "detail": entry.detail,
        "request_id": entry.request_id,
    }
