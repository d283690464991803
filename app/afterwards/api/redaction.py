"""Secrets in what the API shows: members of payloads and results by whose names a mask stands.

Which members: those of the setting `AFTERWARDS_REDACTED_NAMES`, at any depth, and those that a task
type's schema declares as secret (`writeOnly`, or the format `password`, as pydantic's `SecretStr`
has them). Tasks keep what they were given, and their attempts get it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import chain
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Final

from fastapi import Request
from pydantic_core import from_json

from afterwards.api.checks import BODY, Path, invalid
from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import Details
from afterwards.schedules.schedule import Schedule
from afterwards.system.large_bodies import aside
from afterwards.task_types.description import Catalogue

MASK: Final = "**********"
"""As pydantic writes a `SecretStr`."""

_MASK_JSON: Final = f'"{MASK}"'.encode()
# A string may have been cut.
_VALUE: Final = rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
_BRACKET: Final = re.compile(rb"%b|[\[{]|[\]}]" % _VALUE, re.DOTALL)
_SCALAR: Final = re.compile(rb"%b|[^\s,\]}]*" % _VALUE, re.DOTALL)


_NORMAL: Final = str.maketrans(f"{ascii_uppercase}-", f"{ascii_lowercase}_")


class Redaction:
    """Masks secrets, and puts back what stands behind a mask that is sent back.

    Args:
        names: names of members, whatever their case; `-` and `_` are the same.
        catalogue: the task types there are.
    """

    def __init__(self, names: Collection[str], catalogue: Catalogue) -> None:
        self._names = frozenset(map(_normal, names))
        self._catalogue = catalogue
        self._of_types: dict[str, Secrets] = {}

    def task(self, task: Task) -> Task:
        """A task as it is shown."""
        secrets = self._secrets(task.type)
        payload = secrets.masked(task.payload)
        result = None if task.result is None else secrets.masked(task.result)
        if payload is task.payload and result is task.result:
            return task
        return replace(task, payload=payload, result=result)

    def schedule(self, schedule: Schedule) -> Schedule:
        """A schedule as it is shown."""
        pattern = self.task(schedule.pattern)
        return schedule if pattern is schedule.pattern else replace(schedule, pattern=pattern)

    def restored(self, sent: dict[str, Any], stored: bytes, type_name: str) -> dict[str, Any]:
        """A payload that was sent, with what is stored in the places of its masks.

        Args:
            stored: the payload that was shown to the sender, without masks, of a task of this type.

        Raises:
            RequestValidationError: nothing is stored in the place of a mask.
        """
        restored = self._secrets(type_name).restored(sent, from_json(stored))
        assert isinstance(restored, dict)
        return restored

    def secret_step(self, path: Iterable[str], types: Collection[str]) -> str | None:
        """The first name in a path that is a secret's; None: the path leads to none.

        Args:
            types: the task types whose payloads the path is in; empty: all.
        """
        known = [
            self._secrets(name) for name in types or self._catalogue if name in self._catalogue
        ]
        for step in path:
            if _normal(step) in self._names or any(one.is_secret(step) for one in known):
                return step
        return None

    def _secrets(self, type_name: str) -> Secrets:
        known = self._of_types.get(type_name)
        if known is None:
            description = self._catalogue.get(type_name)
            own = () if description is None else secret_names(description.payload_schema)
            known = self._of_types[type_name] = Secrets(self._names, own)
        return known


class Secrets:
    """The names of secret members, in payloads of one type."""

    def __init__(self, names: Collection[str], own: Collection[str]) -> None:
        self._names = frozenset(names)
        self._own = frozenset(own)
        self._written = frozenset(_plain(_written(name)) for name in names)
        self._own_written = frozenset(map(_written, own))
        plain = {_plain(name) for name in (*self._written, *self._own_written)}
        self._members = [
            (name, re.compile(rb'"(%b)"\s*:\s*' % re.escape(name))) for name in sorted(plain)
        ]
        """Each name with its pattern. One that begins with a text is found fast."""

    def masked(self, text: bytes) -> bytes:
        """JSON, or the beginning of it, with masks; the same object if there is nothing to mask."""
        plain = _plain(text)
        # A loop: a generator would take longer than the search.
        for name, _ in self._members:
            if name in plain:
                return self._masked(text, plain)
        return text

    def _masked(self, text: bytes, plain: bytes) -> bytes:
        found = (pattern.finditer(plain) for name, pattern in self._members if name in plain)
        parts: list[bytes] = []
        done = 0
        for member in sorted(chain(*found), key=re.Match.start):
            start, at = member.span()
            # Within a string a quote has a backslash before it; where a name begins it has none.
            if start < done or text[start - 1 : start] == b"\\":
                continue
            name = text[slice(*member.span(1))]
            if member[1] not in self._written and name not in self._own_written:
                continue
            end = _end_of_value(text, at)
            if text[at:end] != b"null":
                parts += [text[done:at], _MASK_JSON]
                done = end
        return b"".join((*parts, text[done:])) if parts else text

    def is_secret(self, name: str) -> bool:
        """True if a member of this name is secret."""
        return name in self._own or _normal(name) in self._names

    def restored(self, sent: Any, stored: Any, path: Path = ()) -> Any:
        """The sent value, with what is stored in the places of its masks.

        Raises:
            RequestValidationError: nothing is stored in the place of a mask.
        """
        if isinstance(sent, dict):
            return {
                name: self._stored(stored, (*path, name))
                if value == MASK and self.is_secret(name)
                else self.restored(value, _member(stored, name), (*path, name))
                for name, value in sent.items()
            }
        if isinstance(sent, list):
            return [
                self.restored(value, _member(stored, place), (*path, place))
                for place, value in enumerate(sent)
            ]
        return sent

    def _stored(self, stored: Any, path: Path) -> Any:
        found = _member(stored, path[-1])
        if found is None:
            said = "is a mask, and nothing is stored in its place; send the value itself"
            raise invalid("mask", (*BODY, "payload", *path), said)
        return found


def _member(value: Any, place: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(place)
    if isinstance(value, list) and isinstance(place, int) and place < len(value):
        return value[place]
    return None


def _end_of_value(text: bytes, at: int) -> int:
    """The end of the JSON value that begins here, however deep it is."""
    if text[at : at + 1] not in (b"{", b"["):
        scalar = _SCALAR.match(text, at)
        return at if scalar is None else scalar.end()
    depth = 0
    for found in _BRACKET.finditer(text, at):
        depth += (found[0] in b"[{") - (found[0] in b"]}")
        if depth == 0:
            return found.end()
    return len(text)


def _written(name: str) -> bytes:
    """A name as JSON has it."""
    return json.dumps(name, ensure_ascii=False)[1:-1].encode()


def _normal(name: str) -> str:
    # As `_plain` does: of ASCII letters only.
    return name.translate(_NORMAL)


def _plain(text: bytes) -> bytes:
    """As long as the text, with all names in it as they are sought."""
    return text.lower().replace(b"-", b"_")


def secret_names(schema: Mapping[str, Any]) -> frozenset[str]:
    """The names of the members that a JSON Schema declares as secret, at any depth.

    A member that may have a secret in it, such as one of a list, is secret as a whole.
    """
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    found: set[str] = set()
    left: list[Any] = [schema]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        elif isinstance(one, dict):
            members = one.get("properties")
            for name, of_member in members.items() if isinstance(members, dict) else ():
                if _has_secret(of_member, definitions):
                    found.add(name)
            left += one.values()
    return frozenset(found)


_PARTS: Final = ("items", "additionalProperties", "prefixItems", "anyOf", "oneOf", "allOf")


def _has_secret(schema: object, definitions: Mapping[str, Any]) -> bool:
    """True if a value of it is a secret, or has one that is no member by a name."""
    left, seen = [schema], set[str]()
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        elif isinstance(one, dict):
            if one.get("writeOnly") is True or one.get("format") == "password":
                return True
            left += [one[part] for part in _PARTS if part in one]
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name in definitions and name not in seen:
                seen.add(name)
                left.append(definitions[name])
    return False


# -- for routes ---------------------------------------------------------------------------------


def redaction_of(request: Request) -> Redaction:
    """The redaction for the task types as they are now."""
    state = request.app.state
    known: tuple[Catalogue, Redaction] | None = getattr(state, "redaction", None)
    if known is None or known[0] is not state.catalogue:
        known = state.redaction = (
            state.catalogue,
            Redaction(state.redacted_names, state.catalogue),
        )
    return known[1]


async def shown(request: Request, task: Task) -> Task:
    """A task as it is shown."""
    return await aside(_size(task), redaction_of(request).task, task)


async def shown_details(request: Request, details: Details) -> Details:
    """The same with its history."""
    return details._replace(task=await shown(request, details.task))


async def shown_tasks(request: Request, tasks: Iterable[Task]) -> list[Task]:
    """Several tasks as they are shown."""
    redaction, known = redaction_of(request), list(tasks)
    return await aside(sum(map(_size, known)), lambda: [redaction.task(task) for task in known])


def _size(task: Task) -> int:
    return len(task.payload) + len(task.result or b"")


async def restored(
    request: Request, sent: dict[str, Any], stored: bytes, type_name: str
) -> dict[str, Any]:
    """As `Redaction.restored`; costs nothing where no mask was sent."""
    body = await request.body()
    if MASK.encode() not in body:
        return sent
    redaction = redaction_of(request)
    return await aside(max(len(body), len(stored)), redaction.restored, sent, stored, type_name)
