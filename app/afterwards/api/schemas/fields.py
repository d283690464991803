"""Parts that the documentation of several routes shares: parameters, headers, kinds of values."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from afterwards.api.idempotency import EXAMPLE_KEY, HEADER, MAX_KEY_CHARACTERS, PATTERN
from afterwards.api.labels import EXAMPLE_LABELS, HEADER_PATTERN
from afterwards.api.labels import HEADER as LABELS_HEADER
from afterwards.api.times import EXAMPLE_TIME, parse_query_time, parse_time

EXAMPLE_ID: Final = "2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11"

TaskId = Annotated[
    str,
    Path(
        description="The id from the answer to a submission. Any other text is an unknown id.",
        openapi_examples={"task": {"summary": "A task's id", "value": EXAMPLE_ID}},
    ),
]
"""The parameter of paths that lead to a task."""


class Redacted(BaseModel):
    """A document of which some keys see less."""

    redacted: bool = Field(
        False,
        description=(
            "True for a key without `payloads`. Payload, result, artifacts, errors, reasons, "
            "progress, log lines and tracebacks are null, empty or left out then."
        ),
    )


def example(**members: Any) -> ConfigDict:
    """A model's configuration with an example of it."""
    return ConfigDict(json_schema_extra={"examples": [members]})


_TIME_SCHEMA: Final = WithJsonSchema(
    {"type": "string", "format": "date-time", "examples": [EXAMPLE_TIME]}
)
Time = Annotated[float, BeforeValidator(parse_time), _TIME_SCHEMA]
"""A time in a body."""
QueryTime = Annotated[float, BeforeValidator(parse_query_time), _TIME_SCHEMA]
"""A time in a query."""

# -- headers and parameters --------------------------------------------------------------------


def _location(description: str, path: str) -> dict[str, Any]:
    return {
        "Location": {
            "description": description,
            "schema": {"type": "string", "format": "uri-reference"},
            "example": path,
        }
    }


def header(description: str, example: str) -> dict[str, Any]:
    """An answer's header."""
    return {"description": description, "schema": {"type": "string"}, "example": example}


LOCATION: Final = _location(
    "The task's status, relative to the request's URL.",
    f"../status/{EXAMPLE_ID}",
)
TASK_LOCATION: Final = _location("The task, relative to the request's URL.", f"tasks/{EXAMPLE_ID}")
SCHEDULE_LOCATION: Final = _location(
    "The schedule, relative to the request's URL.", "../schedules/daily-report"
)

REPLAYED: Final[dict[str, Any]] = {
    "Idempotent-Replayed": {
        "description": "The answer is about an earlier submission with the same key.",
        "schema": {"type": "string", "enum": ["true"]},
        "example": "true",
    }
}
EXISTING_TASK: Final[dict[str, Any]] = {
    "Existing-Task": {
        "description": "The answer is about an unfinished task that has the same `unique_key`.",
        "schema": {"type": "string", "enum": ["true"]},
        "example": "true",
    }
}
PREFERENCE_APPLIED: Final = {
    "Preference-Applied": header("The longest wait that the header `Prefer` allowed.", "wait=20")
}
ETAG: Final = {"ETag": header("Identifies this answer, for `If-None-Match`.", '"mDfIhYg2Zqc0YQ"')}

IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": (
        "The client's name for this submission, with or without quotes. The same key with the "
        "same submission gives the first one's task again, as long as that task is kept."
    ),
    "schema": {"type": "string", "pattern": PATTERN, "maxLength": MAX_KEY_CHARACTERS},
    "example": EXAMPLE_KEY,
}
TASK_LABELS: Final[dict[str, Any]] = {
    "name": LABELS_HEADER,
    "in": "header",
    "required": False,
    "description": (
        "Labels of the task: up to 8 keys, each with a token or a string in quotes (a dictionary "
        "of RFC 9651), of 1 to 64 characters."
    ),
    "schema": {"type": "string", "pattern": HEADER_PATTERN},
    "example": EXAMPLE_LABELS,
}
WAIT: Final[dict[str, Any]] = {
    "name": "wait",
    "in": "query",
    "required": False,
    "description": (
        "The seconds to wait for the task's end before answering. More than 60 counts as 60."
    ),
    "schema": {"type": "integer", "minimum": 0},
    "example": 20,
}
PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=20` means the same as `?wait=20` (RFC 7240). The query wins.",
    "schema": {"type": "string"},
    "example": "wait=20",
}
LOGS: Final[dict[str, Any]] = {
    "name": "logs",
    "in": "query",
    "required": False,
    "description": "1 adds `log_lines`: what the last attempt has printed and logged.",
    "schema": {"type": "integer", "enum": [0, 1]},
    "example": 1,
}
CHILDREN: Final[dict[str, Any]] = {
    "name": "children",
    "in": "query",
    "required": False,
    "description": (
        "1 cancels what the task has submitted, too, what that has submitted, and so on; and the "
        "members of the group that it follows."
    ),
    "schema": {"type": "integer", "enum": [0, 1]},
    "example": 1,
}
TRACEBACKS: Final[dict[str, Any]] = {
    "name": "tracebacks",
    "in": "query",
    "required": False,
    "description": "1 adds `traceback` to each attempt of `history`.",
    "schema": {"type": "integer", "enum": [0, 1]},
    "example": 1,
}
IF_NONE_MATCH: Final[dict[str, Any]] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "ETags of earlier answers. If one of them still holds, the answer is 304.",
    "schema": {"type": "string"},
    "example": '"mDfIhYg2Zqc0YQ"',
}
