"""Lists and counts of tasks."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query, Request
from starlette.responses import Response

from afterwards.api import schemas, times
from afterwards.api.cursors import link_to_next
from afterwards.api.queries import require_once
from afterwards.api.redaction import redaction_of, shown_tasks
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.pages import page_answers
from afterwards.api.schemas.task_filter import TaskConditions, TaskFilter
from afterwards.api.schemas.task_lists import TaskCount, TaskPage
from afterwards.api.submission import service_of
from afterwards.api.task_document import base_document, list_document, summary_document
from afterwards.api.task_filter import REPEATABLE, continued, filter_of, page_cursor, page_end
from afterwards.api.uncached import uncached
from afterwards.registry.protocol.answers import Scan
from afterwards.registry.protocol.filters import Order

router = new_router("Tasks of any type")

_WRONG_QUERY: Final = (
    "The query is not valid.",
    "#/limit: Input should be less than or equal to 500",
)

MAX_COUNT: Final = 10_000


@router.get(
    "/tasks",
    summary="List tasks",
    operation_id="listTasks",
    response_model=TaskPage,
    response_description="A page of tasks",
    responses=page_answers("MTI0NQ", 500),
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
    headers = {}
    cursor = None
    if page.next is not None:
        cursor = page_cursor(page.next, order)
        headers = link_to_next(continued(query, cursor))
    document = summary_document if query.summary else base_document
    waiting = page.waiting
    tasks = await shown_tasks(request, page.tasks)
    documents = (document(task, page.progress.get(task.id), waiting.get(task.id)) for task in tasks)
    answer = list_document(documents, next=cursor, scan=_scan(page.scan))
    return uncached(answer, headers=headers)


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
    return uncached({"count": counted.number, "exact": counted.exact})
