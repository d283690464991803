"""The declaration of a schedule in a task module: `Schedule`."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel

from afterwards.labels import VALUE_PATTERN, checked
from afterwards.lifecycle import DEFAULT_PRIORITY, HIGHEST_PRIORITY, MAX_KEY_CHARACTERS
from afterwards.schedules.recurrence import check_cron, check_period, zone
from afterwards.schedules.schedule import NAME
from afterwards.task_types.base import (
    MAX_ATTEMPTS,
    MAX_TIMEOUT_SECONDS,
    TaskType,
    require_count,
    require_seconds,
)

_OUR_FILES: Final = (__file__, "<string>")
"""Dataclasses have their constructors from a text without a file."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """Stands at the top level of a task module: a task that the service submits again and again.

    Raises:
        TypeError, ValueError: a member is wrong; the message names the schedule and the member.
    """

    name: str
    """Up to 100 letters, digits, `.`, `_` and `-`, the first not a dot."""
    type: TaskType | str
    """The task type, or the name of one that this module does not have."""
    payload: Mapping[str, Any] | BaseModel = field(default_factory=dict)
    cron: str | None = field(default=None, kw_only=True)
    """Five fields as in crontab(5). Either this or `every`."""
    every: float | timedelta | None = field(default=None, kw_only=True)
    """The period, in seconds if it is a number; it begins when the schedule is first declared."""
    timezone: str = field(default="UTC", kw_only=True)
    """The time zone of the cron expression, an IANA name."""
    catch_up: bool = field(default=False, kw_only=True)
    """True: make up for due times that passed while the service was down."""
    priority: int = field(default=DEFAULT_PRIORITY, kw_only=True)
    max_attempts: int | None = field(default=None, kw_only=True)
    """None: the task type's."""
    timeout: float | timedelta | None = field(default=None, kw_only=True)
    """Limit for one attempt, in seconds if it is a number; None: the task type's."""
    labels: Mapping[str, str] | None = field(default=None, kw_only=True)
    """Each of its tasks has them."""
    concurrency_key: str | None = field(default=None, kw_only=True)
    unique_key: str | None = field(default=None, kw_only=True)
    """A due time that meets an unfinished task with it is skipped."""
    place: str = field(default="", init=False, repr=False)
    """The file and the line of the declaration, in words."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", _place_of_caller())
        if NAME.fullmatch(str(self.name)) is None:
            raise ValueError(
                f"schedule {self.name!r}: a name has up to 100 letters, digits, '.', '_' and '-', "
                "no dot to begin with"
            )
        try:
            self._check()
        except (TypeError, ValueError) as error:
            raise type(error)(f"schedule {self.name!r}: {error}") from None

    @property
    def type_name(self) -> str:
        """The name of the task type."""
        return self.type.name if isinstance(self.type, TaskType) else self.type

    @property
    def payload_text(self) -> str:
        """The payload as JSON."""
        given = self.payload
        members = given.model_dump(mode="json") if isinstance(given, BaseModel) else dict(given)
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def _check(self) -> None:
        if not isinstance(self.type, TaskType | str):
            raise TypeError(f"type must be a TaskType or the name of one, not {self.type!r}")
        self._check_payload()
        self._check_times()
        if self.max_attempts is not None:
            require_count("max_attempts", self.max_attempts, MAX_ATTEMPTS)
        if self.timeout is not None:
            require_seconds("timeout", seconds_of(self.timeout), MAX_TIMEOUT_SECONDS)
        if self.priority not in range(HIGHEST_PRIORITY + 1) or isinstance(self.priority, bool):
            raise ValueError(f"priority must be 0 to {HIGHEST_PRIORITY}, not {self.priority!r}")
        checked({} if self.labels is None else self.labels)
        for name in ("concurrency_key", "unique_key"):
            _require_key(name, getattr(self, name))

    def _check_payload(self) -> None:
        if not isinstance(self.payload, Mapping | BaseModel):
            raise TypeError(f"payload must be a mapping or a model, not {self.payload!r}")
        try:
            _ = self.payload_text
        except (TypeError, ValueError) as error:
            raise type(error)(f"payload must be JSON: {error}") from None

    def _check_times(self) -> None:
        if (self.cron is None) == (self.every is None):
            raise ValueError("it needs one of cron and every")
        zone(self.timezone)
        if self.cron is not None:
            check_cron(self.cron)
        else:
            seconds = seconds_of(self.every)
            require_seconds("every", seconds, math.inf)
            check_period(seconds)


def seconds_of(period: float | timedelta | None) -> Any:
    """A period in seconds, if it is one."""
    return period.total_seconds() if isinstance(period, timedelta) else period


def _require_key(what: str, key: object) -> None:
    if key is None:
        return
    if not (
        isinstance(key, str) and len(key) <= MAX_KEY_CHARACTERS and re.fullmatch(VALUE_PATTERN, key)
    ):
        raise ValueError(
            f"{what} must be 1 to {MAX_KEY_CHARACTERS} characters without control characters, "
            f"not {key!r}"
        )


def _place_of_caller() -> str:
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename in _OUR_FILES:
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}, line {frame.f_lineno}"
