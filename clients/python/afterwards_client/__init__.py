"""A client for Afterwards: hand over a task, wait for its end, watch it.

    with Client("http://127.0.0.1:8000") as client:
        task = client.submit("notification", {"email": "a@example.com", "message": "Hello"})
        print(client.result(task.id))

`AsyncClient` is the same, awaited. What can go wrong is drawn in `afterwards_client.errors`.
"""

from afterwards_client.activity import ActivityEntry
from afterwards_client.async_client import AsyncClient
from afterwards_client.bulk import BulkCancel, BulkDelete, BulkRetry, BulkRun
from afterwards_client.calls import Cancellation
from afterwards_client.client import Client
from afterwards_client.connections import DEFAULT_URL
from afterwards_client.error_groups import ErrorGroup, ErrorGroups
from afterwards_client.errors import (
    AfterwardsClientError,
    ApiError,
    Conflict,
    ConnectionFailed,
    FieldError,
    Gone,
    Invalid,
    InvalidArgument,
    InvalidKey,
    InvalidSecret,
    InvalidWebhook,
    NotFound,
    TaskFailed,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
    WrongEnvironment,
)
from afterwards_client.events import Event, ProgressEvent, ResetEvent, StateEvent, TaskEvent
from afterwards_client.groups import Batch, CancelledChildren, Group
from afterwards_client.listing import Page, Scan, TaskCount
from afterwards_client.live_statistics import LiveStatistics
from afterwards_client.new_task import Callback, NewTask
from afterwards_client.retries import Retries
from afterwards_client.schedules import DueTask, NewSchedule, Schedule
from afterwards_client.selection import Conditions
from afterwards_client.statistics import Series, Slots, Statistics
from afterwards_client.task_types import RateLimit, TaskType
from afterwards_client.tasks import (
    Artifact,
    Attempt,
    CancelOutcome,
    GroupWait,
    KeyWait,
    Progress,
    Task,
    TaskDetails,
    TaskStatus,
    TaskSummary,
)
from afterwards_client.verification import WebhookEvent, verify_webhook
from afterwards_client.version import __version__
from afterwards_client.webhooks import Replayed, Webhook
from afterwards_client.workers import Host, RegistryProcess, RunningAttempt, Worker, Workers

__all__ = [
    "DEFAULT_URL",
    "ActivityEntry",
    "AfterwardsClientError",
    "ApiError",
    "Artifact",
    "AsyncClient",
    "Attempt",
    "Batch",
    "BulkCancel",
    "BulkDelete",
    "BulkRetry",
    "BulkRun",
    "Callback",
    "CancelOutcome",
    "Cancellation",
    "CancelledChildren",
    "Client",
    "Conditions",
    "Conflict",
    "ConnectionFailed",
    "DueTask",
    "ErrorGroup",
    "ErrorGroups",
    "Event",
    "FieldError",
    "Gone",
    "Group",
    "GroupWait",
    "Host",
    "Invalid",
    "InvalidArgument",
    "InvalidKey",
    "InvalidSecret",
    "InvalidWebhook",
    "KeyWait",
    "LiveStatistics",
    "NewSchedule",
    "NewTask",
    "NotFound",
    "Page",
    "Progress",
    "ProgressEvent",
    "RateLimit",
    "RegistryProcess",
    "Replayed",
    "ResetEvent",
    "Retries",
    "RunningAttempt",
    "Scan",
    "Schedule",
    "Series",
    "Slots",
    "StateEvent",
    "Statistics",
    "Task",
    "TaskCount",
    "TaskDetails",
    "TaskEvent",
    "TaskFailed",
    "TaskStatus",
    "TaskSummary",
    "TaskType",
    "Unavailable",
    "UnexpectedAnswer",
    "WaitTimeout",
    "Webhook",
    "WebhookEvent",
    "Worker",
    "Workers",
    "WrongEnvironment",
    "__version__",
    "verify_webhook",
]
