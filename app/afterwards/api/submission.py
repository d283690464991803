"""The common way of a submission: store the task, answer, then let it start."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from fastapi import BackgroundTasks, Request
from pydantic import BaseModel
from starlette.responses import Response

from afterwards.access.principal import ANYONE
from afterwards.api.idempotency import REPLAYED, key_of
from afterwards.api.labels import labels_of
from afterwards.api.references import reference
from afterwards.errors import TaskDeleted, TaskNotFound
from afterwards.lifecycle import Task
from afterwards.service.intake import fingerprint_of_json
from afterwards.system.large_bodies import aside

if TYPE_CHECKING:
    from afterwards.service.service import TaskService
    from afterwards.service.submissions import Submission

_SUBMITS: Final = "submits"
_JSON: Final = (b"content-type", b"application/json")


_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


def submits(type_name: str) -> Callable[[_Endpoint], _Endpoint]:
    """Declare that an endpoint submits tasks of one type: its route is there only with that."""

    def declare(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _SUBMITS, type_name)
        return endpoint

    return declare


def is_for(endpoint: object, types: Collection[str]) -> bool:
    """True unless the endpoint submits tasks of a type that is not among these."""
    type_name = getattr(endpoint, _SUBMITS, None)
    return type_name is None or type_name in types


def service_of(request: Request) -> TaskService:
    """The service that `afterwards.main` put on the application, as the request's sender sees it.

    Called, not declared with `Depends`: solving a dependency costs 9 us, a sixth of a request.
    """
    scope = request.scope
    service = cast("TaskService", scope["app"].state.service)
    principal = scope["principal"]
    if principal is ANYONE:
        return service
    return service.seen_by(principal, own_only=scope["own_only"])


async def kept_task(request: Request, task_id: str) -> Task:
    """The task, for the surfaces that know no difference between deleted and never there.

    Raises:
        TaskNotFound: it is not there (any more).
    """
    try:
        return await service_of(request).get(task_id)
    except TaskDeleted:
        raise TaskNotFound(task_id) from None


async def submit(
    request: Request, background: BackgroundTasks, type_name: str, payload: BaseModel
) -> Submission:
    """Have a task accepted, and started once the answer is out. It is on disk on return."""
    service = service_of(request)
    scope = request.scope
    submission = await service.submissions.submit(
        type_name, payload, key_of(scope), labels_of(scope), scope["headers"]
    )
    background.add_task(service.start, submission.task_id)
    return submission


async def fingerprint_of(request: Request) -> bytes:
    """The fingerprint of what was sent, for which an idempotency key stands."""
    body = await request.body()
    return await aside(len(body), fingerprint_of_json, body)


class AcceptedResponse(Response):
    """The answer of an accepting route, its bytes put together by hand (3 us less a request)."""

    def __init__(self, request: Request, status: int, body: bytes, submission: Submission) -> None:
        location = reference(request.scope, f"/status/{submission.task_id}")
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            _JSON,
            (b"location", location.encode("ascii")),
        ]
        if submission.replayed:
            self.raw_headers.append(REPLAYED)


def started(request: Request, status: int, submission: Submission) -> AcceptedResponse:
    """The answer of those routes that tell the task's id."""
    body = b'{"task_id":"%b","status":"started"}' % submission.task_id.encode("ascii")
    return AcceptedResponse(request, status, body, submission)
