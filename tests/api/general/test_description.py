"""The bodies in the OpenAPI document have each task type's own payload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from afterwards.access.roles import Role
from afterwards.api.payload_schemas import describe_payloads
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.protocol.key_requests import CreateKey
from afterwards.task_types import CATALOGUE
from afterwards.task_types.base import TaskType
from afterwards.task_types.description import in_process
from afterwards.webhooks.webhook import DELIVERY
from tests.access.holders import holder
from tests.api.general.conftest import write
from tests.registry.peers import ask

pytestmark = pytest.mark.anyio


class Row(BaseModel):
    number: int


def table() -> type[BaseModel]:
    class Row(BaseModel):
        """Another one of the same name."""

        cells: list[str]

    return Row


class Tree(BaseModel):
    leaves: int = 0
    branches: list[Tree] = []


class Odd(BaseModel):
    value: Callable[[], int]


def described(*types: TaskType) -> dict[str, Any]:
    """The models of a document with these task types."""
    order = {
        "properties": {"type": {"type": "string"}, "payload": {"type": "object"}},
        "required": ["type"],
        "examples": [{"type": "a"}],
    }
    document = {"components": {"schemas": {"NewTask": order}}}
    describe_payloads(document, in_process({one.name: one for one in types}))
    models: dict[str, Any] = document["components"]["schemas"]
    return models


def referred(models: Mapping[str, Any], reference: Mapping[str, str]) -> Any:
    return models[reference["$ref"].removeprefix("#/components/schemas/")]


def test_an_order_is_a_choice_of_the_task_types_told_apart_by_their_names() -> None:
    models = described(TaskType("a", Row, write), TaskType("b", Tree, write))
    order = models["NewTask"]
    mapping = {name: f"#/components/schemas/NewTask.{name}" for name in "ab"}
    assert order["discriminator"] == {"propertyName": "type", "mapping": mapping}
    assert [one["$ref"] for one in order["oneOf"]] == list(mapping.values())
    assert order["examples"] == [{"type": "a"}]
    first, second = (referred(models, one) for one in order["oneOf"])
    assert first["properties"]["type"] == {"type": "string", "const": "a"}
    assert first["required"] == ["type", "payload"]
    assert second["required"] == ["type"]
    assert referred(models, first["properties"]["payload"])["properties"].keys() == {"number"}


def test_two_models_of_one_name_are_kept_apart() -> None:
    models = described(TaskType("a", Row, write), TaskType("b", table(), write))
    payloads = [
        referred(models, models[f"NewTask.{name}"]["properties"]["payload"]) for name in "ab"
    ]
    assert [list(payload["properties"]) for payload in payloads] == [["number"], ["cells"]]


def test_a_model_may_contain_itself() -> None:
    models = described(TaskType("a", Tree, write))
    tree = referred(models, models["NewTask.a"]["properties"]["payload"])
    assert referred(models, tree["properties"]["branches"]["items"]) is tree


def test_a_model_that_json_schema_has_no_words_for_is_any_object() -> None:
    models = described(TaskType("a", Odd, write))
    payload = referred(models, models["NewTask.a"]["properties"]["payload"])
    assert payload == {"type": "object", "title": "Odd"}


class TestOfTheServicesOwnTypes:
    @pytest.fixture
    def app(self, app: FastAPI) -> FastAPI:
        catalogue = in_process(CATALOGUE)
        app.state.catalogue = catalogue
        app.state.service.renew(catalogue, app.state.service.validator)
        return app

    async def test_the_examples_of_bodies_are_accepted(
        self, api: httpx.AsyncClient, app: FastAPI, registry: MemoryRegistry
    ) -> None:
        # The first one is not made over HTTP.
        first = holder(Role.ADMIN).key
        ask(registry, CreateKey(first))
        document = app.openapi()
        models = document["components"]["schemas"]
        tried = 0
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if "requestBody" not in operation or "{task_id}" in path:
                    continue
                if path == "/session":
                    continue  # nobody has the token of the example
                if path == "/webhooks/{name}/replay":
                    continue  # nobody has the webhook and the task of the examples
                content = operation["requestBody"]["content"]["application/json"]
                # A body that may be left out is a choice of it and of nothing.
                body = content["schema"].get("anyOf", [content["schema"]])[0]
                [example] = referred(models, body)["examples"]
                there = path.format(name="daily", key_id=first.id)
                answer = await api.request(method, there, json=example)
                assert answer.is_success, (path, answer.text)
                tried += 1
        assert tried == 15

    async def test_each_payload_is_described_once(self, app: FastAPI) -> None:
        models = app.openapi()["components"]["schemas"]
        for name, task_type in CATALOGUE.items():
            if name == DELIVERY:
                assert f"NewTask.{name}" not in models
                continue
            payload = models[f"NewTask.{name}"]["properties"]["payload"]
            assert payload["$ref"] == f"#/components/schemas/{task_type.payload.__name__}"
            assert models[f"NewSchedule.{name}"]["properties"]["payload"] == payload
