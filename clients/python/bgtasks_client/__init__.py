"""A client for bgtasks: hand over a task, wait for its end, watch it.

    with Client("http://127.0.0.1:8000") as client:
        task = client.submit("notification", {"email": "a@example.com", "message": "Hello"})
        print(client.result(task.id))

`AsyncClient` is the same, awaited. What can go wrong is drawn in `bgtasks_client.errors`.
"""

from bgtasks_client.async_client import AsyncClient
from bgtasks_client.calls import Cancellation
from bgtasks_client.client import DEFAULT_URL, Client
from bgtasks_client.errors import (
    ApiError,
    BgTasksClientError,
    Conflict,
    ConnectionFailed,
    FieldError,
    Gone,
    Invalid,
    NotFound,
    TaskFailed,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
)
from bgtasks_client.events import Event, ProgressEvent, ResetEvent, StateEvent, TaskEvent
from bgtasks_client.retries import Retries
from bgtasks_client.tasks import (
    Attempt,
    CancelOutcome,
    NewTask,
    Progress,
    Task,
    TaskDetails,
    TaskStatus,
)
from bgtasks_client.version import __version__

__all__ = [
    "DEFAULT_URL",
    "ApiError",
    "AsyncClient",
    "Attempt",
    "BgTasksClientError",
    "CancelOutcome",
    "Cancellation",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "Event",
    "FieldError",
    "Gone",
    "Invalid",
    "NewTask",
    "NotFound",
    "Progress",
    "ProgressEvent",
    "ResetEvent",
    "Retries",
    "StateEvent",
    "Task",
    "TaskDetails",
    "TaskEvent",
    "TaskFailed",
    "TaskStatus",
    "Unavailable",
    "UnexpectedAnswer",
    "WaitTimeout",
    "__version__",
]
