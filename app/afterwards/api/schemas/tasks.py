"""The answers of the general routes for tasks."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, Field, JsonValue

from afterwards.api.schemas.artifacts import ArtifactDocument
from afterwards.api.schemas.fields import EXAMPLE_ID, Redacted, example
from afterwards.api.schemas.requests import EXAMPLE_PAYLOAD
from afterwards.api.times import EXAMPLE_TIME
from afterwards.lifecycle import HIGHEST_PRIORITY, TaskState


class Progress(BaseModel):
    """The progress of the running attempt, as it reports it."""

    fraction: float = Field(ge=0, le=1)
    message: str | None
    at: str = Field(json_schema_extra={"format": "date-time"})


EXAMPLE_DOCUMENT: Final[dict[str, Any]] = {
    "id": EXAMPLE_ID,
    "type": "notification",
    "status": "success",
    "payload": EXAMPLE_PAYLOAD,
    "result": {"message": "Notification sent"},
    "artifacts": [],
    "error": None,
    "created_at": EXAMPLE_TIME,
    "run_at": EXAMPLE_TIME,
    "started_at": EXAMPLE_TIME,
    "finished_at": "2026-11-21T10:00:02.000000+00:00",
    "attempts": 1,
    "retries": 0,
    "max_attempts": 3,
    "priority": 4,
    "progress": None,
    "labels": {"tenant": "acme"},
    "retrying": False,
    "parent": None,
    "group": None,
    "concurrency_key": None,
    "unique_key": None,
    "waiting_for": None,
}


class WaitingForKey(BaseModel):
    """The reason why a pending task does not start, although it may have a slot."""

    concurrency_key: str = Field(description="As many attempts as may run under this key, do.")
    holders: int | None = Field(
        ge=0,
        description="The number of those attempts; null for a key with labels.",
    )


class WaitingForGroup(BaseModel):
    """The group that the task waits for."""

    group: str = Field(description="Its id: that of the task itself.")


class Follows(BaseModel):
    """The group that the task follows."""

    group: str = Field(description="Its id, for `GET /groups/{id}`: that of the task itself.")
    on: Literal["success", "finished"]
    size: int = Field(ge=1, description="The number of tasks that were submitted with it.")


class BaseTask(Redacted):
    """The members that all documents of a task have."""

    id: str
    type: str
    status: TaskState
    error: str | None = Field(
        description="The error of the last attempt, also while the task waits for the next one."
    )
    created_at: str = Field(json_schema_extra={"format": "date-time"})
    run_at: str | None = Field(
        json_schema_extra={"format": "date-time"},
        description=(
            "The time at which the task is or was due; null if it waits for a group, and for no "
            "time."
        ),
    )
    started_at: str | None = Field(description="The time at which the last attempt was started.")
    finished_at: str | None
    attempts: int = Field(ge=0, description="Attempts started so far, in all rounds.")
    retries: int = Field(ge=0, description="The number of retries by hand.")
    max_attempts: int = Field(
        ge=1, description="Attempts in each round. A retry by hand starts a new round."
    )
    priority: int = Field(ge=0, le=HIGHEST_PRIORITY)
    progress: Progress | None = Field(description="Progress of the running attempt.")
    labels: dict[str, str] = Field(description="The labels of the task, given at submission.")
    retrying: bool = Field(
        description="True if the task waits for a further attempt after one that failed."
    )
    parent: str | None = Field(description="The task that has submitted it; null: a client has.")
    group: str | None = Field(
        description="The id of the group that it is a member of: that of the task that follows it."
    )
    concurrency_key: str | None
    unique_key: str | None
    waiting_for: WaitingForGroup | WaitingForKey | None = Field(
        description=(
            "Set while it waits for its group to end, or is pending and waits for its "
            "`concurrency_key`. Answers to submissions and changes do not look at the key."
        )
    )


class TaskDocument(BaseTask):
    """A task. Times are RFC 3339, UTC."""

    model_config = example(**EXAMPLE_DOCUMENT)

    payload: dict[str, JsonValue] | None = Field(description="Null only if redacted.")
    result: dict[str, JsonValue] | None = Field(description="Set when the status is `success`.")
    artifacts: list[ArtifactDocument] = Field(
        description="The files that the successful attempt has made, by name."
    )


class AttemptDocument(BaseModel):
    """One attempt at a task."""

    attempt: int = Field(ge=1)
    worker: str = Field(
        description="The process that ran the attempt: service, pid, its start, and the boot."
    )
    started_at: str = Field(json_schema_extra={"format": "date-time"})
    finished_at: str | None
    wait_seconds: float = Field(ge=0, description="The time from its due time to its start.")
    run_seconds: float | None = Field(
        ge=0, description="The time that the attempt ran, as its worker measured it."
    )
    outcome: (
        Literal["success", "failure", "timeout", "lost", "suspected", "released", "cancelled"]
        | None
    )
    error: str | None
    peak_memory_bytes: int | None = Field(
        ge=0,
        description="The most memory that its process had; null where attempts share a process.",
    )
    cpu_seconds: float | None = Field(
        ge=0, description="CPU time of its process; null where attempts share a process."
    )
    span_id: str | None = Field(
        description=(
            "The id of the attempt's span in the trace that `trace_id` names; null without one."
        )
    )
    traceback: str | None = Field(
        None,
        description=(
            "Only with `tracebacks=1`: where the task's function raised its error, at most 16 KiB. "
            "The last three attempts that have one keep it."
        ),
    )


class FullTaskDocument(TaskDocument):
    """A task with all its details and attempts."""

    model_config = example(
        **EXAMPLE_DOCUMENT,
        executor="async",
        timeout_seconds=None,
        deadline=None,
        idempotency_key=None,
        schedule=None,
        cancel_requested=False,
        children=0,
        follows=None,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        trace_link="https://traces.example.org/4bf92f3577b34da6a3ce929d0e0e4736",
        history=[
            {
                "attempt": 1,
                "worker": "c1f7a9d2:4711:98765:8d2c6f0a",
                "started_at": EXAMPLE_TIME,
                "finished_at": "2026-11-21T10:00:02.000000+00:00",
                "wait_seconds": 0.0,
                "run_seconds": 2.0,
                "outcome": "success",
                "error": None,
                "peak_memory_bytes": None,
                "cpu_seconds": None,
                "span_id": "2a7c4e0f9b1d5368",
            }
        ],
        log_lines=["charging card 1234", "charged"],
    )

    executor: str
    timeout_seconds: float | None = Field(description="The task's own time limit for one attempt.")
    deadline: str | None
    idempotency_key: str | None
    schedule: str | None = Field(description="The schedule that made the task.")
    cancel_requested: bool = Field(description="True if the worker was asked to stop the task.")
    children: int = Field(
        ge=0, description="The number of tasks that it has submitted and that are kept."
    )
    follows: Follows | None = Field(description="The batch that it follows, if it does.")
    trace_id: str | None = Field(
        description=(
            "The trace that the submission belongs to, and all attempts with it. Null without "
            "traces, and for tasks of schedules."
        )
    )
    trace_link: str | None = Field(
        description=(
            "The address that shows the trace, as `AFTERWARDS_TRACE_LINK` says. Null without that "
            "setting, and if the trace is not recorded."
        )
    )
    history: list[AttemptDocument] = Field(
        description="The attempts, oldest first. A running one is last."
    )
    log_lines: list[str] = Field(
        [],
        description=(
            "Only with `logs=1`: what the last attempt has printed and logged, up to 64 lines and "
            "8 KiB."
        ),
    )


class TaskList(BaseModel):
    """Tasks that were accepted together, in the order of the request."""

    model_config = example(tasks=[EXAMPLE_DOCUMENT], then=None)

    tasks: list[TaskDocument]
    then: TaskDocument | None = Field(
        description=(
            "The task that follows them, if one was sent. Their `group` is its id. Null in the "
            "answer to a repetition, too, if it was deleted meanwhile."
        )
    )


class CancelledChildren(BaseModel):
    """The outcome for the tasks that a task has submitted, and for the group that it follows."""

    cancelled: int = Field(ge=0)
    requested: int = Field(ge=0, description="Running tasks whose workers were asked to stop them.")
    more: bool = Field(description="True if there may be more; send the request again.")


class Cancellation(BaseModel):
    """The outcome of a cancellation, and the task."""

    model_config = example(outcome="finished", task=EXAMPLE_DOCUMENT, children=None)

    outcome: Literal["prevented", "stopped", "finished", "unstoppable", "requested"] = Field(
        description=(
            "`prevented`: the task was not running, and will not run. `stopped`: the task ran and "
            "was stopped. `finished`: the task was finished first. `unstoppable`: the task runs in "
            "a thread, which cannot be stopped alone. It was asked to stop; if it ignores that, "
            "it ends with its host after its time limit. `requested`: its worker has not answered "
            "yet."
        )
    )
    task: TaskDocument
    children: CancelledChildren | None = Field(description="Set with `children=1` only.")
