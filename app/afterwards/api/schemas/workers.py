"""Answer of `GET /workers`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from afterwards.api.schemas.fields import EXAMPLE_ID, example
from afterwards.api.schemas.task_types import Slots
from afterwards.api.times import EXAMPLE_TIME

_DATE_TIME: dict[str, JsonValue] = {"format": "date-time"}


class HostDocument(BaseModel):
    """A child process of a worker, that runs attempts."""

    pid: int
    kind: str = Field(description="The executor that it belongs to.")
    generation: int = Field(description="The generation of the task code that it runs.")
    started_at: str | None = Field(json_schema_extra=_DATE_TIME)
    memory_bytes: int | None
    attempts: int = Field(ge=0, description="The number of attempts that run in it.")
    stuck: int = Field(ge=0, description="The number of those past their time limit.")
    state: Literal["running", "leaving", "suspects"] = Field(
        description="`leaving`: it takes no more attempts. `suspects`: it runs attempts of which "
        "one may have ended its host before."
    )


class RunningAttemptDocument(BaseModel):
    """An attempt that runs."""

    task_id: str
    type: str
    attempt: int
    started_at: str = Field(json_schema_extra=_DATE_TIME)
    host_pid: int | None = Field(
        description="Null: it runs in the worker itself, or its worker has not said yet."
    )


class WorkerDocument(BaseModel):
    """A worker process."""

    id: str = Field(description="As in the history of tasks: service, pid, start, boot.")
    pid: int
    started_at: str | None = Field(json_schema_extra=_DATE_TIME)
    generation: int = Field(description="The generation of the task code that its new hosts run.")
    draining: bool = Field(description="True if it takes no more tasks, because it stops.")
    memory_bytes: int | None = Field(
        description="Without its hosts. Null where the machine does not tell."
    )
    lease_seconds_left: float | None = Field(
        description="The seconds until it is ended for its silence; null: never."
    )
    slots: dict[str, Slots]
    hosts: list[HostDocument] = Field(description="Up to 64, as they were ten seconds ago or less.")
    running: list[RunningAttemptDocument] = Field(description="The 100 that have run longest.")
    running_total: int = Field(ge=0)


class RegistryDocument(BaseModel):
    """The registry process."""

    pid: int
    uptime_seconds: float
    memory_bytes: int | None


class WorkersDocument(BaseModel):
    """All workers, and the registry process."""

    model_config = example(
        workers=[
            {
                "id": "3f0c8a3bd1f24b7e:4711:98765:8d2c6f0a",
                "pid": 4711,
                "started_at": EXAMPLE_TIME,
                "generation": 1,
                "draining": False,
                "memory_bytes": 73_400_320,
                "lease_seconds_left": 9.2,
                "slots": {"async": {"busy": 1, "free": 9_999, "stuck": 0}},
                "hosts": [
                    {
                        "pid": 4720,
                        "kind": "async",
                        "generation": 1,
                        "started_at": EXAMPLE_TIME,
                        "memory_bytes": 31_457_280,
                        "attempts": 1,
                        "stuck": 0,
                        "state": "running",
                    }
                ],
                "running": [
                    {
                        "task_id": EXAMPLE_ID,
                        "type": "notification",
                        "attempt": 1,
                        "started_at": EXAMPLE_TIME,
                        "host_pid": 4720,
                    }
                ],
                "running_total": 1,
            }
        ],
        registry={"pid": 4700, "uptime_seconds": 86_400.0, "memory_bytes": 52_428_800},
    )

    workers: list[WorkerDocument]
    registry: RegistryDocument
