"""The background-task service, and what modules of task types import from it.

    from afterwards import TaskContext, TaskType

`docs/task-types.md` shows how to write one. Names that are not listed here belong to the service
and may change. To read the service itself, begin at `afterwards.lifecycle`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afterwards.task_types.base import (
        Cancelled,
        Child,
        EmailAddress,
        Group,
        Interrupted,
        JsonObject,
        Member,
        PermanentError,
        RateLimit,
        RetryPolicy,
        SingleLine,
        TaskContext,
        TaskModule,
        TaskType,
        TransientError,
    )
    from afterwards.task_types.schedule import Schedule

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "Child",
    "EmailAddress",
    "Group",
    "Interrupted",
    "JsonObject",
    "Member",
    "PermanentError",
    "RateLimit",
    "RetryPolicy",
    "Schedule",
    "SingleLine",
    "TaskContext",
    "TaskModule",
    "TaskType",
    "TransientError",
]


def __getattr__(name: str) -> Any:
    """Import the names above when one is asked for.

    Every module of the service imports this one first. The registry and most commands have no use
    for pydantic, which would cost them a tenth of a second and 20 MB.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"afterwards.task_types.{'schedule' if name == 'Schedule' else 'base'}"
    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
