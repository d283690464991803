"""Every "no" of the API as a problem document (RFC 9457), and which error gets which status."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from afterwards.api.references import base_path
from afterwards.api.refused import remember
from afterwards.errors import (
    AfterwardsError,
    ArtifactGone,
    ArtifactNotFound,
    ErrorGroupNotFound,
    IdempotencyMismatch,
    IllegalTransition,
    InvalidKey,
    KeyNameTaken,
    KeyNotFound,
    KeyNotUsable,
    LimitReached,
    NotAllowed,
    NotAuthenticated,
    ScheduleDeclared,
    ScheduleNotFound,
    TaskDeleted,
    TaskNotFound,
    TooManyKeys,
    TooManySchedules,
    TooManyWebhooks,
    Unavailable,
    UniqueKeyTaken,
    UnknownTaskType,
    WebhookDisabled,
    WebhookNotFound,
)

MEDIA_TYPE: Final = "application/problem+json"

STATUSES: Final[Mapping[type[AfterwardsError], int]] = MappingProxyType(
    {
        TaskDeleted: 410,
        TaskNotFound: 404,
        ArtifactGone: 410,
        ArtifactNotFound: 404,
        ScheduleNotFound: 404,
        ErrorGroupNotFound: 404,
        IllegalTransition: 409,
        TooManySchedules: 409,
        ScheduleDeclared: 409,
        WebhookNotFound: 404,
        WebhookDisabled: 409,
        TooManyWebhooks: 409,
        UniqueKeyTaken: 409,
        KeyNotFound: 404,
        KeyNotUsable: 409,
        KeyNameTaken: 409,
        TooManyKeys: 409,
        UnknownTaskType: 422,
        IdempotencyMismatch: 422,
        NotAuthenticated: 401,
        NotAllowed: 403,
        LimitReached: 429,
        Unavailable: 503,
        AfterwardsError: 500,
    }
)
"""The status of an error: its own class's, or else its nearest ancestor's."""

TITLES: Final[Mapping[int, str]] = MappingProxyType(
    {413: "Content Too Large", 422: "Unprocessable Content"}
)
"""The names of statuses on which Python's versions do not agree (RFC 9110's is right)."""

CHALLENGES: Final = ("Bearer", 'Bearer error="invalid_token"')
"""The challenges of a 401 (RFC 6750, 3): where no key was shown, and where one was."""

UNEXPECTED: Final = "Something went wrong here; the service's log has more under the request id"
"""The text of a 500, before the id."""

_INVALID_JSON: Final = frozenset({"json_invalid", "json_type"})
_MAX_ECHOED_CHARACTERS: Final = 200
_MAX_LISTED_ERRORS: Final = 20
"""A body of a million wrong fields is not answered with a million messages."""


class Problem(Response):
    """A problem document."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        document = {
            "type": "about:blank",
            "title": title(status),
            "status": status,
            "detail": detail,
            **members,
        }
        super().__init__(json.dumps(document), status, headers)


class PayloadRefused(RequestValidationError):
    """A request with a payload that its task type does not take, and not all of the reasons."""

    def __init__(self, mistakes: Sequence[Any], unlisted: int) -> None:
        super().__init__(mistakes)
        self.unlisted = unlisted


def title(status: int) -> str:
    """A status in words."""
    return TITLES.get(status) or HTTPStatus(status).phrase


def install(app: FastAPI) -> None:
    """Answer errors that reach the application with problem documents.

    Unexpected ones do not belong here: they are `request_context.RequestContext`'s, because
    Starlette answers them outside of all middleware, without a request id and uncounted.
    """
    for error, answer in _ANSWERS.items():
        app.add_exception_handler(error, answer)


async def answer_to(request: Request, error: Exception) -> Response | None:
    """The same answer, for an error that does not reach the application; None: unexpected."""
    answer = next((_ANSWERS[cls] for cls in type(error).__mro__ if cls in _ANSWERS), None)
    return None if answer is None else await answer(request, error)


def status_of(error: AfterwardsError) -> int:
    """The table, looked up."""
    return next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AfterwardsError)
    headers = {}
    if isinstance(error, LimitReached):
        return _limited(error)
    if isinstance(error, UniqueKeyTaken) and error.task_id is not None:
        return Problem(status_of(error), str(error), task_id=error.task_id)
    if isinstance(error, NotAllowed):
        await remember(request, error)
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = CHALLENGES[isinstance(error, InvalidKey)]
    return Problem(status_of(error), str(error), headers=headers)


def _limited(error: LimitReached) -> Response:
    """The refusal of a request beyond a limit (RFC 6585, 4)."""
    headers = {"Retry-After": str(max(1, math.ceil(error.retry_after_seconds)))}
    used = {"name": error.name, "value": error.limit, "used": error.used}
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=headers, limit=used)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:
        detail = _explained(error.status_code, request) or detail
    return Problem(error.status_code, detail, headers=error.headers)


def _explained(status: int, request: Request) -> str | None:
    base = base_path(request)
    path = f"{base}{request.scope['path']}"[:_MAX_ECHOED_CHARACTERS]
    if status == HTTPStatus.NOT_FOUND:
        return f"There is nothing at {path}; {base}/docs lists what there is"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not possible at {path}; the header Allow lists what is"
    return None


async def _invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # The rejected input itself is not sent back: it may be large, secret, or no JSON (NaN).
    found = error.errors()
    listed = [_listed(one) for one in found[:_MAX_LISTED_ERRORS]]
    first = listed[0]
    detail = f"{first['pointer']}: {first['message']}"
    more = len(found) - 1 + (error.unlisted if isinstance(error, PayloadRefused) else 0)
    if more:
        detail += f" (and {more} more)"
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=listed)


_ANSWERS: Final[Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]] = (
    MappingProxyType(
        {
            AfterwardsError: _service_error,
            RequestValidationError: _invalid_request,
            HTTPException: _http_error,
        }
    )
)


def _listed(error: Mapping[str, Any]) -> dict[str, str]:
    location, *path = error["loc"]
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] in _INVALID_JSON:
        path = []  # the position, which the message tells too
        message = f"Not valid JSON: {error.get('ctx', {}).get('error', message)}"
    elif error["type"] == "missing" and not path:
        message = "A JSON object is required"
    return {"location": str(location), "pointer": _pointer(path), "message": message}


def _pointer(path: Sequence[object]) -> str:
    """A path as a JSON pointer (RFC 6901) in a URI fragment."""
    return "#" + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
