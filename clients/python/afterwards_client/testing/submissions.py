"""Bodies that submit tasks or change them: held against the service's rules, and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

import httpx

from afterwards_client.testing import members
from afterwards_client.testing.problems import Mistake, Path, invalid

_MOST_TASKS: Final = 1_000

_CALLBACK: Final[Mapping[str, members.Check]] = {
    "url": members.text,
    "events": members.list_of(members.one_of("success", "failed", "cancelled"), 3),
    "secret": members.text,
}


def _callback(value: Any) -> members.Problem | None:
    mistakes = members.mistakes_in(value, _CALLBACK, ("url",))
    if mistakes:
        return mistakes[0].path, mistakes[0].message
    is_called = value["url"].startswith(("http://", "https://"))
    return None if is_called else (("url",), "only http and https URLs may be called")


WANTED: Final[Mapping[str, members.Check]] = {
    "type": members.text,
    "payload": members.json_object,
    "priority": members.PRIORITY,
    "max_attempts": members.MAX_ATTEMPTS,
    "timeout_seconds": members.TIMEOUT,
    "deadline": members.time,
    "labels": members.labels,
    "callback": _callback,
    "concurrency_key": members.key,
    "unique_key": members.key,
    "on_conflict": members.one_of("existing", "reject", "replace"),
}
_NEW: Final = {**WANTED, "delay_seconds": members.DELAY, "run_at": members.time}
_FOLLOWING: Final = {**WANTED, "on": members.one_of("success", "finished")}


class Types(Protocol):
    """The task types that a fake service has."""

    def mistakes(
        self, name: str, payload: Mapping[str, Any], type_path: Path, path: Path
    ) -> list[Mistake]:
        """The reasons why there is no such type, or it does not take the payload."""


def body_of(request: httpx.Request) -> Any:
    """The JSON of a request; None: it has no body. Raises `Refusal`."""
    if not request.content:
        return None
    try:
        return json.loads(request.content)
    except ValueError as error:
        raise invalid([Mistake((), f"Not valid JSON: {error}")]) from None


def new_task(body: Any, types: Types) -> dict[str, Any]:
    """A task to submit. Raises `Refusal`."""
    _require(_mistakes_in_new(body, types, ()))
    return _said(body)


def new_tasks(body: Any, types: Types) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Tasks to submit together, and the one that follows them. Raises `Refusal`."""
    checks = {
        "tasks": members.list_of(lambda _: None, _MOST_TASKS),
        "then": lambda _: None,
    }
    _require(members.mistakes_in(body, checks, ("tasks",)))
    then = body.get("then")
    found = [
        mistake
        for index, task in enumerate(body["tasks"])
        for mistake in _mistakes_in_batch(task, _NEW, types, ("tasks", index))
    ]
    if then is not None:
        found += _mistakes_in_batch(then, _FOLLOWING, types, ("then",))
    _require(found)
    return [_said(task) for task in body["tasks"]], None if then is None else _said(then)


def change(
    body: Any, names: Mapping[str, members.Check], *, something: bool = False
) -> dict[str, Any]:
    """A change of a task; without a body none. Raises `Refusal`."""
    given = {} if body is None else body
    _require(members.mistakes_in(given, names))
    found = _said(given)
    if something and not found:
        raise invalid([Mistake((), f"send {', '.join(names)}")])
    return found


def _mistakes_in_new(
    body: Any, types: Types, path: Path, checks: Mapping[str, members.Check] = _NEW
) -> list[Mistake]:
    found = members.mistakes_in(body, checks, ("type",), path)
    if found:
        return found
    said = _said(body)
    if "on_conflict" in said and "unique_key" not in said:
        problem = "on_conflict says what to do about a unique_key; send that, too"
        found.append(Mistake(path, problem))
    if "delay_seconds" in said and "run_at" in said:
        found.append(Mistake(path, "send delay_seconds or run_at, not both"))
    if found:
        return found
    payload = said.get("payload", {})
    return types.mistakes(said["type"], payload, (*path, "type"), (*path, "payload"))


def _mistakes_in_batch(
    body: Any, checks: Mapping[str, members.Check], types: Types, path: Path
) -> list[Mistake]:
    found = _mistakes_in_new(body, types, path, checks)
    if not found and body.get("on_conflict") not in (None, "reject"):
        found.append(Mistake((*path, "on_conflict"), "in a batch only reject is taken"))
    return found


def _said(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def _require(mistakes: list[Mistake]) -> None:
    if mistakes:
        raise invalid(mistakes)
