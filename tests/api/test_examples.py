"""Every example in OpenAPI is valid by the schema that it is an example of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema_rs import Draft202012Validator

pytestmark = pytest.mark.anyio

Place = tuple[str, ...]
Example = tuple[Place, Any, Any]
"""The place of an example, its schema, and the example."""


def examples(node: Any, place: Place = ()) -> Iterator[Example]:
    """All of a part of the document: of schemas, parameters, headers and bodies; and defaults."""
    if isinstance(node, list):
        for index, one in enumerate(node):
            yield from examples(one, (*place, str(index)))
    if not isinstance(node, dict):
        return
    of_it = node.get("examples", [])
    if isinstance(of_it, dict):
        yield from ((place, node["schema"], one["value"]) for one in of_it.values())
    elif isinstance(of_it, list):
        # What is no schema here is a schema's property of that name.
        yield from ((place, node, one) for one in of_it)
    if "example" in node:
        yield (place, node.get("schema", node), node["example"])
    if "default" in node and not isinstance(node["default"], dict):
        yield (place, node, node["default"])
    for name, part in node.items():
        if name not in ("example", "examples", "default"):
            yield from examples(part, (*place, name))


async def test_every_example_is_valid_by_its_own_schema(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    found = list(examples(document))
    assert {place[0] for place, _, _ in found} == {"paths", "components"}
    wrong = [
        f"{'/'.join(place)}: {error.message}"
        for place, schema, example in found
        for error in Draft202012Validator(
            {**schema, "components": document["components"]}, validate_formats=True
        ).iter_errors(example)
    ]
    assert wrong == []
    assert len(found) > 200


async def test_what_is_null_in_an_answer_is_null_in_its_example(client: httpx.AsyncClient) -> None:
    models = (await client.get("/openapi.json")).json()["components"]["schemas"]
    [example] = models["TaskDocument"]["examples"]
    assert (example["error"], example["progress"]) == (None, None)
    [example] = models["TaskStatus"]["examples"]
    assert {*example, "redacted"} == set(models["TaskStatus"]["properties"])
