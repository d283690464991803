"""A declared schedule as plain data, for processes without the code of its task module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from afterwards.effects.settings import EffectSettings
from afterwards.errors import ConfigurationError
from afterwards.labels import stored
from afterwards.task_types.description import Catalogue
from afterwards.task_types.modules import one_line, wrong
from afterwards.task_types.schedule import Schedule, seconds_of


class Declaration(NamedTuple):
    """A schedule that a task module declares. It goes through JSON as a list of its members."""

    module: str
    place: str
    """The file and the line, in words."""
    name: str
    type: str
    payload: str
    """JSON."""
    cron: str | None
    every_seconds: float | None
    timezone: str
    catch_up: bool
    priority: int
    max_attempts: int | None
    timeout_seconds: float | None
    labels: str | None
    """As `Task.labels`."""
    concurrency_key: str | None
    unique_key: str | None

    @classmethod
    def of(cls, schedule: Schedule, module: str) -> Self:
        """The declaration that a module makes."""
        return cls(
            module,
            schedule.place,
            schedule.name,
            schedule.type_name,
            schedule.payload_text,
            schedule.cron,
            seconds_of(schedule.every),
            schedule.timezone,
            schedule.catch_up,
            schedule.priority,
            schedule.max_attempts,
            seconds_of(schedule.timeout),
            stored(schedule.labels),
            schedule.concurrency_key,
            schedule.unique_key,
        )

    def wrong(self, problem: str) -> ConfigurationError:
        """A mistake in it."""
        return wrong(self.module, f"schedule {self.name!r}: {problem} ({self.place})")


def require_declarable(
    declarations: Sequence[Declaration], catalogue: Catalogue, effects: EffectSettings
) -> None:
    """See that the types are there, and that the models in this process take the payloads.

    Raises:
        ConfigurationError: one is wrong; it names the file and the line.
    """
    for one in declarations:
        task_type = catalogue.get(one.type)
        if task_type is None or not task_type.is_for_clients:
            known = ", ".join(sorted(name for name, it in catalogue.items() if it.is_for_clients))
            raise one.wrong(f"there is no task type {one.type!r}; there are {known}")
        if task_type.model is not None:
            try:
                task_type.model.model_validate_json(one.payload, context=effects)
            except Exception as error:
                raise one.wrong(f"its payload: {payload_problem(error)}") from error


def payload_problem(error: Exception) -> str:
    """The mistake in a payload, in one line."""
    if not isinstance(error, ValidationError):
        return one_line(error)
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(map(str, first["loc"]))
    more = error.error_count() - 1
    rest = f" (and {more} more)" if more else ""
    return f"{path}: {first['msg']}{rest}" if path else f"{first['msg']}{rest}"


def decoded(members: Any) -> list[Declaration]:
    """Declarations as they come out of JSON.

    Raises:
        TypeError: they are none.
    """
    return [Declaration(*one) for one in members]
