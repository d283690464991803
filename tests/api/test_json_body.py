"""The number of lists and objects in a body, and the mistakes told of a wrong one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter
from starlette.exceptions import HTTPException

from afterwards.api.json_body import MAX_CONTAINERS, containers_in, parsed, validated
from afterwards.task_types.mistakes import MAX_MISTAKES

SCALARS = st.none() | st.booleans() | st.integers() | st.text('a"\\[]{},: ')
DOCUMENTS = st.recursive(
    SCALARS, lambda some: st.lists(some) | st.dictionaries(st.text('a"\\[]{},: '), some)
)


class Empty(BaseModel):
    model_config = ConfigDict(extra="forbid")


def counted(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + sum(map(counted, value)) if isinstance(value, list) else 0


@given(DOCUMENTS, st.sampled_from([None, 0, 1]))
def test_lists_and_objects_are_counted_as_they_are(document: Any, indent: int | None) -> None:
    assert containers_in(json.dumps(document, indent=indent).encode()) == counted(document)


@pytest.mark.parametrize("body", [b'"', b'"\\', b'["\\"', b"]", b""])
def test_what_is_no_json_is_counted_somehow(body: bytes) -> None:
    assert containers_in(body) < 10


def test_a_body_has_as_many_lists_as_are_allowed_and_no_more() -> None:
    assert len(parsed(b"[" + b"[]," * (MAX_CONTAINERS - 2) + b"{}]")) == MAX_CONTAINERS - 1
    message = "has 100001 lists and objects; send at most 100000"
    with pytest.raises(HTTPException, match=message) as raised:
        parsed(b"[" + b"[]," * (MAX_CONTAINERS - 1) + b"{}]")
    assert raised.value.status_code == 413


def test_brackets_in_a_text_are_no_lists() -> None:
    assert parsed(json.dumps(["1,[{" * MAX_CONTAINERS]).encode()) == ["1,[{" * MAX_CONTAINERS]


def test_so_many_mistakes_are_told_in_one() -> None:
    body = json.dumps(dict.fromkeys(map(str, range(MAX_MISTAKES + 1)), 0)).encode()

    with pytest.raises(RequestValidationError) as raised:
        validated(TypeAdapter(Empty), body)

    (told,) = raised.value.errors()
    assert told["loc"] == ("body",)
    assert told["msg"] == "has 10001 mistakes, which are too many to tell one by one"
