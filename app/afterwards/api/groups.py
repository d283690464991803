"""Groups: the tasks of a batch that another task follows."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.encoding import encoded, raw
from afterwards.api.redaction import shown
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.groups import GroupDocument
from afterwards.api.submission import service_of
from afterwards.api.task_document import base_document
from afterwards.api.uncached import uncached
from afterwards.lifecycle import TaskState

router = new_router("Tasks of any type")

GroupId = Annotated[
    str,
    Path(
        description="The id of the task that follows the group. Any other text is an unknown id.",
        openapi_examples={"group": {"summary": "A task's id", "value": schemas.EXAMPLE_ID}},
    ),
]


@router.get(
    "/groups/{group_id}",
    summary="Get a group",
    operation_id="getGroup",
    response_model=GroupDocument,
    response_description="The group",
    responses=schemas.answers(*schemas.KNOWN_PROBLEMS),
)
@needs(Role.VIEWER)
async def get_group(group_id: GroupId, request: Request) -> Response:
    """Show how far the tasks of a batch are, and the task that follows them.

    `GET /tasks?group=` lists them, and `POST /tasks/cancel` with `group` cancels them.
    """
    found = await service_of(request).group(group_id)
    then, finished = found.then, found.finished
    answer = {
        "id": then.id,
        "on": then.follows,
        "size": then.members,
        "finished": sum(finished.values()),
        "succeeded": finished[TaskState.SUCCESS],
        "failed": finished[TaskState.FAILED],
        "cancelled": finished[TaskState.CANCELLED],
        "then": raw(base_document(await shown(request, then))),
    }
    return uncached(encoded(answer))
