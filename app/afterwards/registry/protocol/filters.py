"""Which tasks a list, a count or a bulk verb is about, and in which order a list has them."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Any, Final, NamedTuple

from afterwards.lifecycle import FINAL_STATES, WAITING_STATES, Task, TaskState

SURE_DIGITS: Final = 8
"""So many digits of an id are hardly anything else; fewer may be a number of somebody's."""

_ID_SHAPE: Final = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"
_HEX: Final = re.compile(r"[0-9a-f]*")
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,30})(\.\d{1,30})?([eE][+-]?\d{1,3})?", re.ASCII)


class Order(StrEnum):
    """In which order tasks are listed."""

    CREATED = "created"
    """The newest first."""
    FINISHED = "finished"
    """The one that was finished last first; none that are unfinished."""
    DUE = "due"
    """The one that is due first; none that are finished."""


PageEnd = int | tuple[float, int]
"""The end of a page: the order of its last task; with its time, if tasks are listed by another
one, or orders do not tell which came first."""


class Search(NamedTuple):
    """A text to find in tasks, without regard to upper and lower case of ASCII letters."""

    text: str
    path: tuple[str, ...] = ()
    """The path of a member of the payload that has to be `text`, exactly. Digits count in a list.
    Empty: the text may be anywhere in the payload or the error, or the beginning of the id."""

    @property
    def id_digits(self) -> str:
        """The digits, if it may be the beginning of an id; otherwise empty."""
        text = self.text.lower()
        if self.path or len(text) > len(_ID_SHAPE):
            return ""
        dashes = all((a == "-") == (b == "-") for a, b in zip(text, _ID_SHAPE, strict=False))
        digits = text.replace("-", "")
        return digits if dashes and _HEX.fullmatch(digits) else ""

    @property
    def number(self) -> float | int | None:
        """The text as the number that it is in JSON; None: it is none."""
        if _NUMBER.fullmatch(self.text) is None:
            return None
        number: float | int = json.loads(self.text)
        return number if isinstance(number, float) or abs(number) < 2**63 else float(number)

    @property
    def in_json(self) -> str:
        """The text as it is within a string of JSON."""
        return json.dumps(self.text, ensure_ascii=False)[1:-1]


class Filter(NamedTuple):
    """Conditions that all have to hold; what is empty or None is no condition."""

    states: frozenset[TaskState] = frozenset()
    """In one of these."""
    retrying: bool = False
    """Besides those states: waiting for a further attempt after one that failed."""
    types: frozenset[str] = frozenset()
    """The types of the tasks; empty: any type."""
    labels: tuple[str, ...] = ()
    """With all of these: a key, or `key=value`."""
    created_after: float | None = None
    """At this time or later; so for `finished_after`."""
    created_before: float | None = None
    """Before this time; so for `finished_before`."""
    finished_after: float | None = None
    finished_before: float | None = None
    search: Search | None = None
    error: str | None = None
    """Failed, with an error of the group with this `ErrorGroup.id`."""
    parent: str | None = None
    """Submitted by this task."""
    group: str | None = None
    """A member of this group."""
    concurrency_key: str | None = None
    """With this key; so for `unique_key`."""
    unique_key: str | None = None

    @property
    def by_end(self) -> bool:
        """True if it is about the time of finishing, which only finished tasks have."""
        return self.finished_after is not None or self.finished_before is not None

    @property
    def only_kinds(self) -> bool:
        """True if states and types are all that it is about."""
        return self == Filter(states=self.states, types=self.types)

    def walked_states(self, order: Order = Order.CREATED) -> frozenset[TaskState]:
        """The states that tasks have to be looked for in."""
        states = self.states | WAITING_STATES if self.retrying else self.states
        states = states or frozenset(TaskState)
        if self.error is not None:
            states &= {TaskState.FAILED}
        if order is Order.FINISHED or self.by_end:
            return states & FINAL_STATES
        return states - FINAL_STATES if order is Order.DUE else states


def pairs_of(labels: str | None) -> list[str]:
    """The texts to find a task with these labels by: each key, and each key with its value."""
    if labels is None:
        return []
    found: dict[str, str] = json.loads(labels)
    return [text for key, value in found.items() for text in (key, f"{key}={value}")]


def fits(task: Task, wanted: Filter) -> bool:
    """True if all conditions but those of the search and the group of errors hold."""
    return (
        _is_of_state(task, wanted)
        and (not wanted.types or task.type in wanted.types)
        and _is_between(task.created_at, wanted.created_after, wanted.created_before)
        and (
            not wanted.by_end
            or _is_between(task.finished_at, wanted.finished_after, wanted.finished_before)
        )
        and wanted.parent in (None, task.parent)
        and wanted.group in (None, task.group)
        and (not wanted.labels or set(pairs_of(task.labels)).issuperset(wanted.labels))
        and wanted.concurrency_key in (None, task.concurrency_key)
        and wanted.unique_key in (None, task.unique_key)
    )


def _is_of_state(task: Task, wanted: Filter) -> bool:
    if not wanted.states and not wanted.retrying:
        return True
    return task.state in wanted.states or (wanted.retrying and task.is_retrying)


def _is_between(moment: float | None, after: float | None, before: float | None) -> bool:
    return (
        moment is not None
        and (after is None or moment >= after)
        and (before is None or moment < before)
    )


def holds(task: Task, search: Search | None) -> bool:
    """True if the text is in the task."""
    if search is None:
        return True
    if search.path:
        return _is_equal(_member(task.payload, search.path), search)
    digits = search.id_digits
    if digits and task.id.replace("-", "").startswith(digits):
        return True
    payload, error = task.payload.lower(), (task.error or "").encode().lower()
    needles = {search.text.encode().lower(), search.in_json.encode().lower()}
    return any(needle in payload or needle in error for needle in needles)


_ABSENT: Final = object()


def _member(payload: bytes, path: tuple[str, ...]) -> Any:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        # No JSON, or deeper than any that is read.
        return _ABSENT
    for step in path:
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and not step.isdigit():
            value = value.get(step, _ABSENT)
        else:
            return _ABSENT
    return value


def _is_equal(value: Any, search: Search) -> bool:
    if isinstance(value, str):
        return value == search.text
    if value is None or isinstance(value, bool):
        return json.dumps(value) == search.text
    return isinstance(value, int | float) and value == search.number
