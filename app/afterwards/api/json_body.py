"""From the bytes of a body to what a model makes of them, in steps that are short for any body."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from afterwards.system.large_bodies import LARGE_BYTES
from afterwards.task_types.mistakes import mistakes_of

MAX_CONTAINERS: Final = 100_000
"""Lists and objects in a body. Any call of the parser is shorter than 50 ms then; half a million
lists, which a mebibyte has room for, take it 110 ms. Numbers and strings are cheap."""

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""Also one that does not end: to look for the end again from its every quote would be quadratic."""


def parsed(body: bytes) -> Any:
    """The body's JSON, by the same parser as the payload in the attempt.

    Python's own takes NaN, half surrogate pairs and any depth; what it took here could be
    accepted and then never read or written again.

    Raises:
        json.JSONDecodeError: it is not JSON, or deeper than about 200, or has a number of
            more than 4,300 digits.
        HTTPException: it has more than `MAX_CONTAINERS` lists and objects (413).
    """
    if len(body) > LARGE_BYTES:
        _require_few_containers(body)
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise json.JSONDecodeError(str(error), "", 0) from None


def validated(model: TypeAdapter[Any], body: bytes) -> Any:
    """The body as the model validates it.

    Raises:
        RequestValidationError: it is not JSON, or the model does not take it.
        HTTPException: as `parsed`.
    """
    try:
        # By attributes as FastAPI does it, whose message does not name a class of ours.
        return model.validate_python(parsed(body), from_attributes=True)
    except json.JSONDecodeError as error:
        problem = {"type": "json_invalid", "loc": ("body",), "msg": "JSON decode error"}
        raise RequestValidationError([{**problem, "ctx": {"error": error.msg}}]) from error
    except ValidationError as error:
        raise refusal(error, ("body",)) from None


def refusal(error: ValidationError, path: Sequence[str | int]) -> RequestValidationError:
    """The request's error for the mistakes that the model has found.

    Args:
        path: where that stands in the request.
    """
    found = mistakes_of(error)
    return RequestValidationError([{**one, "loc": (*path, *one["loc"])} for one in found])


def _require_few_containers(body: bytes) -> None:
    if _opened(body) <= MAX_CONTAINERS:
        return
    # What stands in strings counted, too.
    number = containers_in(body)
    if number > MAX_CONTAINERS:
        raise HTTPException(
            413, f"The body has {number} lists and objects; send at most {MAX_CONTAINERS}"
        )


def containers_in(body: bytes) -> int:
    """The number of lists and objects in JSON, nested ones included."""
    number = 0
    end = 0
    # Not `sub`, which keeps Python's lock for 70 ms over half a million strings.
    for string in _STRING.finditer(body):
        number += _opened(body[end : string.start()])
        end = string.end()
    return number + _opened(body[end:])


def _opened(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")
