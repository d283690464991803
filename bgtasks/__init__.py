"""What a module of task types needs; `docs/task-types.md` shows how to write one.

    from bgtasks import TaskContext, TaskType

Names that are not listed here belong to the service and may change.
"""

from app.task_types.base import (
    Cancelled,
    EmailAddress,
    JsonObject,
    PermanentError,
    RateLimit,
    RetryPolicy,
    SingleLine,
    TaskContext,
    TaskType,
    TransientError,
)

__all__ = [
    "Cancelled",
    "EmailAddress",
    "JsonObject",
    "PermanentError",
    "RateLimit",
    "RetryPolicy",
    "SingleLine",
    "TaskContext",
    "TaskType",
    "TransientError",
]
