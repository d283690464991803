"""Checks of a requested task against the task types."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple, cast

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import to_json

from afterwards.api.json_body import refusal
from afterwards.api.problems import PayloadRefused
from afterwards.api.schemas.requests import Following, NewTask
from afterwards.api.submission import service_of
from afterwards.errors import NotAllowed
from afterwards.labels import stored
from afterwards.service.intake import TaskRequest
from afterwards.task_types.base import is_finite
from afterwards.task_types.description import Catalogue, TypeDescription
from afterwards.task_types.validating import Check

Path = tuple[str | int, ...]

BODY: Final[Path] = ("body",)


def catalogue_of(request: Request) -> Catalogue:
    """The task types there are within reach of the request's sender, by name."""
    catalogue = cast("Catalogue", request.app.state.catalogue)
    types = request.scope["principal"].types
    return catalogue if types is None else WithinReach(catalogue, types)


class WithinReach(dict[str, TypeDescription]):
    """The task types that a key reaches, of those there are."""

    def __init__(self, catalogue: Catalogue, types: Collection[str]) -> None:
        super().__init__((name, found) for name, found in catalogue.items() if name in types)


def checked_task(new: NewTask | Following, catalogue: Catalogue, path: Path = BODY) -> TaskRequest:
    """The request for a task as the service takes it.

    Args:
        path: where it stands in the request.

    Raises:
        RequestValidationError: there is no such type, or it does not take that payload.
    """
    task_type = known_type(new.type, catalogue, (*path, "type"))
    return TaskRequest(
        new.type,
        checked_payload(new.payload, task_type, (*path, "payload")),
        new.delay_seconds if isinstance(new, NewTask) else None,
        new.run_at if isinstance(new, NewTask) else None,
        new.priority,
        new.max_attempts,
        new.timeout_seconds,
        new.deadline,
        None if new.labels is None else stored(new.labels),
        new.concurrency_key,
        new.unique_key,
        new.on_conflict,
    )


def known_type(name: str, catalogue: Catalogue, path: Path) -> TypeDescription:
    """The task type of this name. Raises `RequestValidationError`, `NotAllowed`."""
    task_type = catalogue.get(name)
    if task_type is None and isinstance(catalogue, WithinReach):
        # Whether there is such a type is not told.
        known = ", ".join(sorted(catalogue)) or "none"
        raise NotAllowed(f"The key reaches no tasks of type {name[:100]!r}; it reaches {known}")
    if task_type is None:
        shown = name if len(name) <= 100 else f"{name[:100]}…"
        known = ", ".join(sorted(name for name, one in catalogue.items() if one.is_for_clients))
        raise invalid("unknown_type", path, f"There is no task type {shown!r}; there are {known}")
    require_for_clients(task_type, path)
    return task_type


def require_for_clients(task_type: TypeDescription, path: Path) -> None:
    """Raise `RequestValidationError` if tasks of this type are made by the service alone."""
    if not task_type.is_for_clients:
        problem = "the service alone makes and changes these tasks; see PUT /webhooks/{name}"
        raise invalid("type_of_the_service", path, problem)


def checked_payload(payload: dict[str, Any], task_type: TypeDescription, path: Path) -> bytes:
    """The payload as JSON, as it was sent, once the task type's model has taken it.

    Of a type whose model is not here, `require_valid` has it validated. The attempt validates it
    again, from the same text: what the model makes of it (defaults, aliases, conversions) is made
    there.

    Raises:
        RequestValidationError: the model does not take it.
    """
    if not is_finite(payload):
        # 1e999 is a number to JSON's grammar, and infinity here.
        raise invalid("finite_number", path, "must have finite numbers only")
    text = to_json(payload)
    if task_type.model is None:
        return text
    try:
        task_type.model.model_validate_json(text, context=task_type.effects)
    except ValidationError as error:
        raise refusal(error, path) from None
    return text


class Placed(NamedTuple):
    """A payload, and where it stands in the request."""

    type: str
    payload: bytes
    path: Path


async def require_valid(request: Request, payloads: Sequence[Placed]) -> None:
    """Have a host validate those payloads whose models are not here.

    Raises:
        RequestValidationError: one is not taken; the first of them is told of.
        Unvalidated: a host could not say.
    """
    catalogue = catalogue_of(request)
    # A type may be gone by now; whoever validates says so.
    theirs = [one for one in payloads if getattr(catalogue.get(one.type), "model", None) is None]
    if not theirs:
        return
    checks = [Check(one.type, one.payload) for one in theirs]
    refusal = await service_of(request).refusal_of(checks)
    if refusal is not None:
        path = theirs[refusal.at].path
        mistakes = [{**one, "loc": (*path, *one["loc"])} for one in refusal.mistakes]
        raise PayloadRefused(mistakes, refusal.unlisted)


def invalid(kind: str, path: Sequence[str | int], message: str) -> RequestValidationError:
    """A request that a check of our own has found to be wrong."""
    return RequestValidationError([{"type": kind, "loc": tuple(path), "msg": message}])
