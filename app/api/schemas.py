"""What the API says, for its documentation: answers, problems and their examples.

Answers are written by hand where they are given (see `submission`), because building and
serialising a model costs more than the rest of the handler; tests hold them to these schemas.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from app.api.idempotency import EXAMPLE_KEY, HEADER, INVALID_KEY, MAX_KEY_CHARACTERS
from app.api.problems import MEDIA_TYPE, UNEXPECTED, title

EXAMPLE_ID: Final = "2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11"
_EXAMPLE_REQUEST_ID: Final = "9f86d081884c-17"

TaskId = Annotated[
    str,
    Path(
        description="As an accepting answer gave it; any other text is the id of no task.",
        openapi_examples={"task": {"summary": "A task's id", "value": EXAMPLE_ID}},
    ),
]
"""The parameter of paths that lead to a task."""


def _example(**members: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [members]})


class Started(BaseModel):
    """The task is stored on disk and will be carried out, whatever happens."""

    model_config = _example(task_id=EXAMPLE_ID, status="started")

    task_id: str
    status: Literal["started"]


class Retried(BaseModel):
    """The task waits for its next attempt."""

    model_config = _example(task_id=EXAMPLE_ID, status="retried")

    task_id: str
    status: Literal["retried"]


class Scheduled(BaseModel):
    """The notification is stored on disk; the header Location leads to its task."""

    model_config = _example(ok=True, message="Notification scheduled in background")

    ok: Literal[True]
    message: str


class TaskStatus(BaseModel):
    """Where a task stands."""

    model_config = _example(
        id=EXAMPLE_ID,
        type="report",
        status="success",
        result={"message": "Report generated"},
        error=None,
        timestamp="2025-06-26T10:00:00.000000+00:00",
        retries=0,
    )

    id: str
    type: str = Field(description="`notification`, `report`, `file` or `email`.")
    status: Literal["pending", "success", "failed"] = Field(
        description="`pending` until it is finished; a cancelled task shows as `failed`."
    )
    result: dict[str, JsonValue] | None = Field(description="Set when the status is `success`.")
    error: str | None = Field(description="Set when the status is `failed`.")
    timestamp: datetime = Field(description="When the task was accepted, UTC.")
    retries: int = Field(ge=0, description="How often it was retried by hand.")


class ProcessingStatus(BaseModel):
    """Where a task stands, with its processing told apart from its waiting."""

    model_config = _example(
        task_id=EXAMPLE_ID,
        status="completed",
        result={"message": "Email sent successfully"},
        error=None,
    )

    task_id: str
    status: Literal["pending", "processing", "completed", "failed"]
    result: dict[str, JsonValue] | None = Field(description="Set when the status is `completed`.")
    error: str | None = Field(description="Set when the status is `failed`.")


class Health(BaseModel):
    """A sign of life."""

    model_config = _example(status="ok")

    status: str


class FieldError(BaseModel):
    """What is wrong with one field."""

    location: str = Field(description="`body`, `query`, `path` or `header`.")
    pointer: str = Field(description="JSON pointer to the field; `#` is the whole.")
    message: str


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(description="`about:blank`: the status says it all.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong, and what can be done about it.")
    errors: list[FieldError] | None = Field(
        default=None, description="Only when fields are not valid."
    )
    request_id: str | None = Field(
        default=None, description="Only for a 500: what to look for in the service's log."
    )


LOCATION: Final[dict[str, Any]] = {
    "Location": {
        "description": "Where the task's status is found.",
        "schema": {"type": "string", "format": "uri-reference"},
        "example": f"/status/{EXAMPLE_ID}",
    }
}
_REPLAYED: Final[dict[str, Any]] = {
    "Idempotent-Replayed": {
        "description": "The submission came before under the same key; this is its task.",
        "schema": {"type": "string", "enum": ["true"]},
        "example": "true",
    }
}
_IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": (
        "The client's name for this submission, in quotes or without. The same key with the same "
        "submission gives the first one's task again, for as long as that is kept."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS + 2},
    "example": EXAMPLE_KEY,
}
_PROBLEM_HEADERS: Final[dict[int, dict[str, Any]]] = {
    405: {
        "Allow": {
            "description": "The methods that are possible.",
            "schema": {"type": "string"},
            "example": "GET, HEAD",
        }
    },
    503: {
        "Retry-After": {
            "description": "When to ask again, in seconds.",
            "schema": {"type": "integer", "minimum": 1},
            "example": 1,
        }
    },
}

_WHEN: Final[dict[int, tuple[str, str]]] = {
    400: (
        "The task is not failed (or cancelled).",
        f"Only a failed task can be retried; task {EXAMPLE_ID} is success",
    ),
    404: ("No task has this id.", "Task not found"),
    405: (
        "Another method was used on this path.",
        "PUT is not possible at /healthz; the header Allow lists what is",
    ),
    413: (
        "The body is too large.",
        "The body may have 1048576 bytes (BGTASKS_MAX_BODY_BYTES)",
    ),
    415: (
        "The body is not declared as JSON.",
        "Send a JSON body with Content-Type: application/json, not 'text/plain'",
    ),
    422: (
        "The body is not valid, or the idempotency key is another submission's. Nothing stored.",
        "#/email: Field required",
    ),
    500: (
        "Something that nobody expected; the service's log has more.",
        f"{UNEXPECTED} {_EXAMPLE_REQUEST_ID}",
    ),
    503: (
        "Ask again after `Retry-After` seconds. Nothing was done, unless the detail doubts it.",
        "The limit of 100000 unfinished tasks is reached; try again in 1 s",
    ),
}

_NO_KEY: Final = ("The idempotency key is none. Nothing stored.", INVALID_KEY)

COMMON_PROBLEMS: Final = (405, 413, 500)
"""Of every route. Also 413: a body that is announced is measured, of use or not."""

SUBMISSION_PROBLEMS: Final = (415, 422, 503)
LOOKUP_PROBLEMS: Final = (404, 503)


def accepting(status: int, problems: Sequence[int] = SUBMISSION_PROBLEMS) -> dict[str, Any]:
    """What all accepting routes have in common, as options of theirs."""
    responses = answers(*problems, headers_of={status: LOCATION | _REPLAYED})
    responses[400] = _problem(400, _NO_KEY)
    return {
        "status_code": status,
        "responses": responses,
        "openapi_extra": {"parameters": [_IDEMPOTENCY_KEY]},
    }


def answers(
    *statuses: int, headers_of: dict[int, dict[str, Any]] | None = None
) -> dict[int | str, dict[str, Any]]:
    """`responses` for a route: its problems besides the common ones, and its answers' headers."""
    documented: dict[int | str, dict[str, Any]] = {status: _problem(status) for status in statuses}
    for status, headers in (headers_of or {}).items():
        documented[status] = {"headers": headers}
    return documented


def _problem(status: int, said: tuple[str, str] | None = None) -> dict[str, Any]:
    when, detail = said or _WHEN[status]
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": detail,
    }
    if status == 422:
        example["errors"] = [
            {"location": "body", "pointer": "#/email", "message": "Field required"}
        ]
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
