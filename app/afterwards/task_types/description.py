"""The description of a task type, for processes without its code: `TypeDescription`, plain data.

Task modules are imported by the processes that run their code, and by no other. One of those
describes the types; everybody else has the descriptions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, cast

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from afterwards.effects.settings import NO_EFFECTS, EffectSettings
from afterwards.task_types.base import ExecutorKind, RateLimit, TaskType
from afterwards.webhooks.webhook import DELIVERY

MAX_BYTES: Final = 4 * 2**20
"""The bound of all modules' descriptions together, as JSON."""

_REFERENCE: Final = '"#/$defs/'


@dataclass(frozen=True)
class TypeDescription:
    """A task type, as far as the service has to know it before and after its attempts."""

    name: str
    executor: ExecutorKind
    payload_name: str
    """The name of the payload's model."""
    payload_schema: Mapping[str, Any]
    """Its JSON Schema; of a model that cannot have one, any object's."""
    max_attempts: int
    timeout_seconds: float | None = None
    """Limit for one attempt; None: the service's."""
    max_concurrency: int | None = None
    rate_limit: RateLimit | None = None
    concurrency_per_key: int = 1
    dask_resources: Mapping[str, float] = field(default_factory=dict)
    dask_workers: tuple[str, ...] = ()
    module: str | None = None
    """The task module that has it; None: it comes with the service."""
    model: type[BaseModel] | None = field(default=None, compare=False)
    """The payload's model, where it is this process' own; None: a host validates payloads."""
    effects: EffectSettings = field(default=NO_EFFECTS, compare=False, repr=False)
    """The settings that the model holds a payload against, as its validation context."""

    @property
    def is_for_clients(self) -> bool:
        """True if clients submit tasks of this type; False if the service alone makes them."""
        return self.module is not None or self.name != DELIVERY

    def schema_with(self, prefix: str) -> dict[str, Any]:
        """The payload's JSON Schema with references that begin with `prefix`."""
        text = json.dumps(self.payload_schema).replace(_REFERENCE, f'"{prefix}')
        return cast("dict[str, Any]", json.loads(text))


Catalogue = Mapping[str, TypeDescription]
"""The task types that a service has, by their names."""


def describe(task_type: TaskType, module: str | None = None) -> TypeDescription:
    """A description of a task type that this process has, with its model.

    Raises:
        Exception: whatever the payload's model raises over its JSON Schema.
    """
    return TypeDescription(
        name=task_type.name,
        executor=task_type.executor,
        payload_name=task_type.payload.__name__,
        payload_schema=_payload_schema(task_type.payload),
        max_attempts=task_type.retry.max_attempts,
        timeout_seconds=task_type.timeout_seconds,
        max_concurrency=task_type.max_concurrency,
        rate_limit=task_type.rate_limit,
        concurrency_per_key=task_type.concurrency_per_key,
        dask_resources=dict(task_type.dask_resources),
        dask_workers=tuple(task_type.dask_workers),
        module=module,
        model=task_type.payload,
    )


def in_process(task_types: Mapping[str, TaskType]) -> Catalogue:
    """Descriptions of task types that come with the service."""
    return MappingProxyType({name: describe(one) for name, one in task_types.items()})


def encoded(description: TypeDescription) -> dict[str, Any]:
    """A description as JSON has it, without the model."""
    rate = description.rate_limit
    return {
        "name": description.name,
        "executor": description.executor,
        "payload_name": description.payload_name,
        "payload_schema": description.payload_schema,
        "max_attempts": description.max_attempts,
        "timeout_seconds": description.timeout_seconds,
        "max_concurrency": description.max_concurrency,
        "rate_limit": None if rate is None else [rate.count, rate.period_seconds],
        "concurrency_per_key": description.concurrency_per_key,
        "dask_resources": description.dask_resources,
        "dask_workers": description.dask_workers,
        "module": description.module,
    }


def decoded(members: Mapping[str, Any]) -> TypeDescription:
    """The description that `encoded` made.

    Raises:
        TypeError, ValueError: it is no description.
    """
    rate = members.get("rate_limit")
    made = {
        "rate_limit": None if rate is None else RateLimit(*rate),
        "dask_workers": tuple(members.get("dask_workers", ())),
    }
    return TypeDescription(**{**members, **made})


def _payload_schema(model: type[BaseModel]) -> dict[str, Any]:
    try:
        return model.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return {"type": "object", "title": model.__name__}
