"""The models of the API, for its documentation: bodies, answers, problems, their examples.

One module for each surface's models, `problems` for how a route documents its answers, `fields` for
what several of them have in common. Answers are written by hand where they are given (see
`afterwards.api.submission`, `afterwards.api.task_document`), because building and serialising a
model costs more than the rest of the handler; tests hold them to these schemas.
"""

from afterwards.api.schemas.fields import EXAMPLE_ID, LOCATION, TASK_LOCATION, TaskId
from afterwards.api.schemas.problems import (
    COMMON_PROBLEMS,
    KEYED_PROBLEMS,
    KNOWN_PROBLEMS,
    LOOKUP_PROBLEMS,
    SUBMISSION_PROBLEMS,
    UNIQUE_KEY_TAKEN,
    FieldError,
    ProblemDocument,
    ReachedLimit,
    accepting,
    answers,
)
from afterwards.api.schemas.status import (
    Health,
    ProcessingStatus,
    Retried,
    Scheduled,
    Started,
    TaskStatus,
)

__all__ = [
    "COMMON_PROBLEMS",
    "EXAMPLE_ID",
    "KEYED_PROBLEMS",
    "KNOWN_PROBLEMS",
    "LOCATION",
    "LOOKUP_PROBLEMS",
    "SUBMISSION_PROBLEMS",
    "TASK_LOCATION",
    "UNIQUE_KEY_TAKEN",
    "FieldError",
    "Health",
    "ProblemDocument",
    "ProcessingStatus",
    "ReachedLimit",
    "Retried",
    "Scheduled",
    "Started",
    "TaskId",
    "TaskStatus",
    "accepting",
    "answers",
]
