"""Problem documents, and how a route documents which ones it answers with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, Field

from afterwards.api.idempotency import INVALID_KEY
from afterwards.api.problems import MEDIA_TYPE, UNEXPECTED, title
from afterwards.api.schemas.fields import EXAMPLE_ID, IDEMPOTENCY_KEY, LOCATION, REPLAYED

_EXAMPLE_REQUEST_ID: Final = "9f86d081884c-17"


class FieldError(BaseModel):
    """The mistake in one field."""

    location: str = Field(
        description="The place of the field: `body`, `query`, `path` or `header`."
    )
    pointer: str = Field(description="JSON pointer to the field; `#` points to the whole.")
    message: str


class ReachedLimit(BaseModel):
    """A limit of the key that is reached."""

    name: str = Field(description="The limit, as the key's `limits` name it.")
    value: float
    used: float = Field(description="The part of it that is used.")


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(
        description="Always `about:blank`: the status names the kind of problem (RFC 9457, 4.2.1)."
    )
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="The mistake, and what to do about it.")
    errors: list[FieldError] | None = Field(
        default=None, description="Set only when fields are not valid."
    )
    limit: ReachedLimit | None = Field(default=None, description="Set only for a 429.")
    task_id: str | None = Field(
        default=None, description="Set only for a 409 about a unique key: the task that has it."
    )
    request_id: str | None = Field(
        default=None, description="Set only for a 500: the request's id in the service's log."
    )


UNIQUE_KEY_TAKEN: Final = (
    "An unfinished task has the unique key. Nothing was done.",
    (
        f"Task {EXAMPLE_ID} is unfinished and has the unique key 'sync-7'; wait for its end, "
        "cancel it, or use another key"
    ),
)
"""The cause of a 409 about a unique key, and an example of its detail."""

_RETRY_AFTER: Final[dict[str, Any]] = {
    "Retry-After": {
        "description": "The seconds until the next try.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    }
}

_PROBLEM_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {
        "WWW-Authenticate": {
            "description": "`Bearer`, with an error if a key was sent (RFC 6750, 3).",
            "schema": {"type": "string"},
            "example": "Bearer",
        }
    },
    405: {
        "Allow": {
            "description": "The methods that the path allows.",
            "schema": {"type": "string"},
            "example": "GET, HEAD",
        }
    },
    429: {
        **_RETRY_AFTER,
        "RateLimit": {
            "description": "The rest of the key's rate; absent if it has none.",
            "schema": {"type": "string"},
            "example": '"requests";r=0;t=2',
        },
        "RateLimit-Policy": {
            "description": "The key's burst, and the seconds in which it is whole again.",
            "schema": {"type": "string"},
            "example": '"requests";q=100;w=2',
        },
    },
    503: _RETRY_AFTER,
}

_WHEN: Final[dict[int, tuple[str, str]]] = {
    400: (
        "The task is neither failed nor cancelled.",
        f"Only a failed task can be retried; task {EXAMPLE_ID} is success",
    ),
    401: (
        "Keys are required, and the request has none that is valid.",
        (
            "This needs a key: send it as 'Authorization: Bearer aw_...'; "
            "`afterwards keys create` makes one"
        ),
    ),
    403: (
        "A page of another site sent the request, or the key does not allow it.",
        (
            "A page of 'https://evil.example' may not do this; if it should, add its origin to "
            "AFTERWARDS_CORS_ORIGINS"
        ),
    ),
    421: (
        "`Host` is neither an IP address nor a name of this service.",
        (
            "This service is not known as 'evil.example'; if it is, add the name to "
            "AFTERWARDS_ALLOWED_HOSTS"
        ),
    ),
    404: ("No task has this id.", "Task not found"),
    409: (
        "The task's state does not allow it.",
        f"Task {EXAMPLE_ID} is success and cannot be retried",
    ),
    410: (
        "The task was finished and has been deleted.",
        f"Task {EXAMPLE_ID} was finished, and has been deleted",
    ),
    405: (
        "The path does not allow this method.",
        "PUT is not possible at /healthz; the header Allow lists what is",
    ),
    413: (
        "The body is too large.",
        "The body has more than 1048576 bytes, the limit of AFTERWARDS_MAX_BODY_BYTES",
    ),
    415: (
        "The body is not declared as JSON.",
        "Send a JSON body with Content-Type: application/json, not 'text/plain'",
    ),
    422: ("The body is not valid. Nothing was done.", "#/email: Field required"),
    429: (
        "A limit of the key is reached. Nothing was done.",
        (
            "The limit pending_tasks of the key is 100: 100 are used, and this needs 1 more; "
            "try again in 5 s"
        ),
    ),
    500: (
        "An unexpected error. The service's log has more.",
        f"{UNEXPECTED} {_EXAMPLE_REQUEST_ID}",
    ),
    503: (
        "Nothing was done, unless the detail says so. Try again after `Retry-After` seconds.",
        "The limit of 100000 unfinished tasks is reached; try again in 1 s",
    ),
}

_OTHER_KEY: Final = (
    "The idempotency key belongs to another submission. Nothing was stored.",
    (
        "The idempotency key 'order-4711' was used for another submission, which became task "
        f"{EXAMPLE_ID}; use a new key for a new submission"
    ),
)
_BODY_OR_OTHER_KEY: Final = (
    "The body is not valid, or the idempotency key is another submission's. Nothing was stored.",
    "#/email: Field required",
)
_NO_KEY: Final = ("The idempotency key is not valid. Nothing was stored.", INVALID_KEY)

COMMON_PROBLEMS: Final = (403, 405, 413, 421, 500)
"""The problems of every route. Also 413: a body that is announced is measured, of use or not."""

KEYED_PROBLEMS: Final = (401, 429, 503)
"""The refusals of every route that asks for a key. Also 503: a worker may not know the keys yet."""

SUBMISSION_PROBLEMS: Final = (415, 422, 503)
LOOKUP_PROBLEMS: Final = (404, 503)
KNOWN_PROBLEMS: Final = (404, 410, 503)
"""The problems of those routes to a task that tell a deleted one from one that never was."""


def accepting(
    status: int,
    problems: Sequence[int] = SUBMISSION_PROBLEMS,
    *,
    headers: Mapping[str, Any] = LOCATION,
    parameters: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The options that all accepting routes share."""
    responses = answers(
        *problems,
        headers_of={status: {**headers, **REPLAYED}},
        said={422: _BODY_OR_OTHER_KEY if 415 in problems else _OTHER_KEY},
    )
    responses[400] = _problem(400, _NO_KEY)
    return {
        "status_code": status,
        "responses": responses,
        "openapi_extra": {"parameters": [IDEMPOTENCY_KEY, *parameters]},
    }


def answers(
    *statuses: int,
    headers_of: Mapping[int, Mapping[str, Any]] | None = None,
    said: Mapping[int, tuple[str, str]] | None = None,
) -> dict[int | str, dict[str, Any]]:
    """`responses` for a route: its problems besides the common ones, and its answers' headers.

    Args:
        said: when a status is given and an example of its detail, where this route has its own.
    """
    own = said or {}
    documented: dict[int | str, dict[str, Any]] = {
        # What takes no JSON has only its query to be wrong.
        status: _problem(status, own.get(status), "body" if 415 in statuses else "query")
        for status in statuses
    }
    for status, headers in (headers_of or {}).items():
        documented[status] = {"headers": dict(headers)}
    return documented


def _problem(
    status: int, said: tuple[str, str] | None = None, location: str = "body"
) -> dict[str, Any]:
    when, detail = said or _WHEN[status]
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": detail,
    }
    if status == 422 and detail.startswith("#"):
        pointer, message = detail.split(": ", 1)
        example["errors"] = [{"location": location, "pointer": pointer, "message": message}]
    if status == 429:
        example["limit"] = {"name": "pending_tasks", "value": 100, "used": 100}
    if status == 500:
        example["request_id"] = _EXAMPLE_REQUEST_ID
    schema = {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}
    documented: dict[str, Any] = {
        "description": when,
        "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
    }
    if status in _PROBLEM_HEADERS:
        documented["headers"] = _PROBLEM_HEADERS[status]
    return documented
