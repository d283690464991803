"""Each task type's own payload, in the description of the bodies that submit a task.

What FastAPI sees in them is an object of any content. Here such a body becomes a choice of the task
types, told apart by `type`, so that /docs and generated clients know what each of them takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from afterwards.task_types.description import Catalogue, TypeDescription

_PREFIX: Final = "#/components/schemas/"

_BODIES: Final[Mapping[str, Mapping[str, Any]]] = {
    # What their own validators refuse besides; null counts as not sent.
    "NewTask": {
        "not": {
            "required": ["delay_seconds", "run_at"],
            "properties": {"delay_seconds": {"type": "number"}, "run_at": {"type": "string"}},
        }
    },
    "Following": {},
    "NewSchedule": {
        "oneOf": [
            {
                "required": ["cron"],
                "properties": {"cron": {"type": "string"}, "every_seconds": {"type": "null"}},
            },
            {
                "required": ["every_seconds"],
                "properties": {"every_seconds": {"type": "number"}, "cron": {"type": "null"}},
            },
        ]
    },
}
"""Bodies with a `type` and a `payload`, by the names of their models."""


def describe_payloads(schema: dict[str, Any], catalogue: Catalogue) -> None:
    """Put the task types into the bodies that an OpenAPI document describes."""
    models = schema["components"]["schemas"]
    payloads = {
        name: _payload(models, task_type)
        for name, task_type in catalogue.items()
        if task_type.is_for_clients
    }
    for body, rules in _BODIES.items():
        if body in models:
            _describe_body(models, body, rules, payloads)


def _payload(models: dict[str, Any], task_type: TypeDescription) -> tuple[dict[str, Any], bool]:
    """A reference to the payload's schema, and whether an empty payload does not fit it."""
    own = task_type.payload_name
    plain = _with_definitions(task_type, own, "")
    if any(models.get(name, part) != part for name, part in plain.items()):
        # Another module's model has the same name.
        own = f"{task_type.name}.{own}"
        plain = _with_definitions(task_type, own, f"{task_type.name}.")
    models.update(plain)
    return {"$ref": _PREFIX + own}, bool(plain[own].get("required"))


def _with_definitions(task_type: TypeDescription, own: str, prefix: str) -> dict[str, Any]:
    """The payload's schema and those that it refers to, by their names in the document."""
    schema = task_type.schema_with(_PREFIX + prefix)
    definitions = {
        prefix + name: definition for name, definition in schema.pop("$defs", {}).items()
    }
    # A model that contains itself is one of its own definitions, and refers to it.
    return definitions if own in definitions else {**definitions, own: schema}


def _describe_body(
    models: dict[str, Any],
    body: str,
    rules: Mapping[str, Any],
    payloads: Mapping[str, tuple[dict[str, Any], bool]],
) -> None:
    general = models[body]
    mapping: dict[str, str] = {}
    for type_name, (payload, required) in payloads.items():
        one = deepcopy(general)
        one.pop("examples", None)
        one["title"] = f"{body} ({type_name})"
        one["properties"]["type"] = {"type": "string", "const": type_name}
        one["properties"]["payload"] = payload
        one["required"] = ["type", *(["payload"] if required else [])]
        one.update(deepcopy(rules))
        models[f"{body}.{type_name}"] = one
        mapping[type_name] = f"{_PREFIX}{body}.{type_name}"
    models[body] = {
        "title": body,
        "description": general.get("description", ""),
        "oneOf": [{"$ref": reference} for reference in mapping.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
        "examples": general.get("examples", []),
    }
