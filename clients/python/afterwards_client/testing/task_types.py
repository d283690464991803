"""The task types of a fake service: what each takes as its payload, and how its tasks end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from afterwards_client.testing.problems import Mistake, Path, Refusal

Payload = Mapping[str, Any]
Run = Callable[[dict[str, Any]], Mapping[str, Any]]

MAX_ATTEMPTS: Final = 3
_TIMEOUT_SECONDS: Final = 30.0
_STATES: Final = ("scheduled", "pending", "processing", "success", "failed", "cancelled")


@dataclass
class FakeType:
    """A task type."""

    name: str
    model: Any = None
    """Takes payloads: a pydantic model, or a function that raises `ValueError`; None: any."""
    run: Run | None = None
    """Gives the result of a task; None: its tasks wait until the test ends them."""
    paused: bool = False
    max_attempts: int = MAX_ATTEMPTS
    executor: str = "async"
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})

    def document(self, counts: Mapping[str, int]) -> dict[str, Any]:
        """The type as the service tells of it."""
        return {
            "name": self.name,
            "executor": self.executor,
            "max_attempts": self.max_attempts,
            "timeout_seconds": _TIMEOUT_SECONDS,
            "max_concurrency": None,
            "rate_limit": None,
            "concurrency_per_key": 1,
            "paused": self.paused,
            "payload_schema": self.schema,
            "tasks": {state: counts.get(state, 0) for state in _STATES},
        }


class FakeTypes:
    """All of them.

    Args:
        given: by their names, or task types themselves; None: each name is a type that takes any
            payload.
    """

    def __init__(self, given: Mapping[str, Any] | Sequence[Any] | None) -> None:
        self._is_open = given is None
        self._types: dict[str, FakeType] = {}
        if isinstance(given, Mapping):
            for name, model in given.items():
                self._types[name] = _of_model(name, model)
        else:
            for task_type in given or ():
                self._types[task_type.name] = _of_task_type(task_type)

    def find(self, name: str) -> FakeType | None:
        """The type of this name; None: there is none."""
        if self._is_open:
            return self._types.setdefault(name, FakeType(name))
        return self._types.get(name)

    def require(self, name: str) -> FakeType:
        """The type of this name. Raises `Refusal`."""
        found = self.find(name)
        if found is None:
            detail = f"There is no task type {name[:100]!r}; there are {self._known()}"
            raise Refusal(HTTPStatus.NOT_FOUND, detail)
        return found

    def all(self) -> list[FakeType]:
        """Those that were given or used."""
        return list(self._types.values())

    def mistakes(self, name: str, payload: Payload, type_path: Path, path: Path) -> list[Mistake]:
        """The reasons why there is no such type, or it does not take the payload."""
        found = self.find(name)
        if found is None:
            problem = f"There is no task type {name!r}; there are {self._known()}"
            return [Mistake(type_path, problem)]
        return _mistakes(found.model, payload, path)

    def _known(self) -> str:
        return ", ".join(sorted(self._types))


def _of_task_type(task_type: Any) -> FakeType:
    found = _of_model(task_type.name, task_type.payload)
    found.executor = task_type.executor
    found.max_attempts = task_type.retry.max_attempts
    return found


def _of_model(name: str, model: Any) -> FakeType:
    # A TaskType in the place of a model: then its own.
    model = getattr(model, "payload", model)
    describe = getattr(model, "model_json_schema", None)
    found = FakeType(name, model)
    if describe is not None:
        found.schema = describe()
    return found


def _mistakes(model: Any, payload: Payload, path: Path) -> list[Mistake]:
    if model is None:
        return []
    # Pydantic is the application's, if it is there at all.
    validate_json = getattr(model, "model_validate_json", None)
    try:
        if validate_json is None:
            model(dict(payload))
        else:
            # As the service: what JSON is not strict about, it is not.
            validate_json(json.dumps(payload))
    except ValueError as error:
        return _told(error, path)
    return []


def _told(error: ValueError, path: Path) -> list[Mistake]:
    errors = getattr(error, "errors", None)
    if errors is None:
        return [Mistake(path, str(error))]
    return [
        Mistake((*path, *one["loc"]), str(one["msg"]).removeprefix("Value error, "))
        for one in errors()
    ]
