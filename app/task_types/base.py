"""What a task type is: a name, a payload model, a function, and how its attempts are run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, JsonValue

from app.logs import LogFormat, LogLevel
from executors.retry import PermanentError, RetryPolicy, TransientError

__all__ = [
    "EmailAddress",
    "Environment",
    "JsonObject",
    "PermanentError",
    "RetryPolicy",
    "SingleLine",
    "TaskContext",
    "TaskType",
    "TransientError",
]


@dataclass(frozen=True, slots=True)
class Environment:
    """What the service gives every attempt: settings that task types need, in whichever process."""

    output_dir: Path
    notification_delay_seconds: float
    report_delay_seconds: float
    file_delay_seconds: float
    email_delay_seconds: float
    max_result_bytes: int
    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What an attempt may know of itself."""

    task_id: str
    attempt: int
    """The attempt's number; grows over the task's whole life."""
    attempts_used: int
    """Attempts of this round that ended in an error; 0 in the first attempt after a submission or
    a retry by hand."""
    environment: Environment


Result = Mapping[str, Any]
"""A JSON object."""

Run = Callable[[Any, TaskContext], Result | Awaitable[Result]]


@dataclass(frozen=True)
class TaskType:
    """One kind of work.

    `run` takes the validated payload and a `TaskContext` and returns a JSON object. It raises
    `TransientError` (or a connection error or time-out) for what may succeed if tried again, and
    anything else for what will not. It may run more than once for one task, so its effects have to
    bear that. For the executor `async` it is a coroutine function, for the others a plain one.

    Raises:
        TypeError: `run` does not fit the executor.
    """

    name: str
    payload: type[BaseModel]
    run: Run
    executor: Literal["async", "thread", "process"] = "async"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_seconds: float | None = None
    """Limit for one attempt; None: the service's `REQUEST_TIMEOUT`."""

    def __post_init__(self) -> None:
        is_async = inspect.iscoroutinefunction(self.run)
        if is_async != (self.executor == "async"):
            wanted = "a coroutine function" if self.executor == "async" else "a plain function"
            raise TypeError(
                f"task type {self.name!r}: run must be {wanted} for executor {self.executor!r}"
            )


# -- fields that several payloads share --------------------------------------------------------


@lru_cache(maxsize=4096)
def _normal_address(address: str) -> str:
    # email-validator takes 40 us, and the same address is checked at the border and in the attempt.
    try:
        return validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise ValueError(f"not an email address: {error}") from None


def _finite(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    # 1e999 is a number to JSON's grammar and infinity to Python, and could never be written again.
    json.dumps(value, allow_nan=False)
    return value


def _single_line(value: str) -> str:
    # More than CR and LF: whoever writes or reads the header may split it at any of these.
    if "".join(value.splitlines()) != value:
        raise ValueError("must not contain a line break")
    return value


EmailAddress = Annotated[str, AfterValidator(_normal_address)]
"""An address that could exist (syntax and domain rules of RFC 5321 and 6531; no DNS)."""

SingleLine = Annotated[str, AfterValidator(_single_line)]
"""Text for a mail header: a line break in it would let the sender add headers of his own."""

JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_finite)]
"""Any JSON object that can be written again."""
