"""The query of a list, or of a count, as the registry takes it; and where a page ends, as text."""

from __future__ import annotations

import math
import re
from typing import Final
from urllib.parse import urlencode

from afterwards.api import times
from afterwards.api.checks import BODY, Path, invalid
from afterwards.api.cursors import cursor_of, number_of, position_of
from afterwards.api.redaction import Redaction
from afterwards.api.schemas.bulk import BulkSelection
from afterwards.api.schemas.task_filter import TaskConditions, TaskFilter
from afterwards.lifecycle import TaskState
from afterwards.registry.protocol.filters import Filter, Order, PageEnd, Search

RETRYING: Final = "retrying"
"""The value of `status` for tasks that wait for a further attempt after one that failed."""

REPEATABLE: Final = frozenset({"status", "type", "label"})

_MEMBER: Final = re.compile(r"payload((?:\.[A-Za-z0-9_-]{1,100}){1,20})=(.*)", re.DOTALL)
_TIMES: Final = ("created_after", "created_before", "finished_after", "finished_before")
_PLACE: Final = re.compile(r"([cdf])(\d{1,20}\.\d{1,20}|\d\.?\d*e[+-]\d{2}):(\d{1,20})", re.ASCII)
_LETTERS: Final = {Order.CREATED: "c", Order.DUE: "d", Order.FINISHED: "f"}


def filter_of(query: TaskConditions | BulkSelection, redaction: Redaction) -> Filter:
    """The conditions of a query, or of the body of a verb for many tasks.

    Raises:
        RequestValidationError: a secret is searched for by its path.
    """
    states = frozenset(TaskState(one) for one in query.status if one != RETRYING)
    return Filter(
        states,
        RETRYING in query.status,
        frozenset(query.type),
        tuple(dict.fromkeys(query.label)),
        created_after=times.as_shown(query.created_after),
        created_before=times.as_shown(query.created_before),
        finished_after=times.as_shown(query.finished_after),
        finished_before=times.as_shown(query.finished_before),
        concurrency_key=query.concurrency_key,
        unique_key=query.unique_key,
        search=None if query.q is None else _search(query.q, query, redaction),
        error=query.error,
        parent=query.parent and query.parent.lower(),
        group=query.group and query.group.lower(),
    )


def _search(text: str, query: TaskConditions | BulkSelection, redaction: Redaction) -> Search:
    member = _MEMBER.fullmatch(text)
    if member is None:
        return Search(text)
    path = tuple(member[1][1:].split("."))
    secret = redaction.secret_step(path, query.type)
    if secret is not None:
        # One guess after the other would find it out.
        said = f"{secret!r} names a secret, and no secret is searched for; name another member"
        raise invalid("secret", (*_root(query), "q"), said)
    return Search(member[2], path)


def _root(query: TaskConditions | BulkSelection) -> Path:
    return BODY if isinstance(query, BulkSelection) else ("query",)


def continued(query: TaskFilter, cursor: str) -> str:
    """The query of the next page: the same with another cursor."""
    members = query.model_dump(exclude_unset=True, exclude_none=True, mode="json")
    for name in _TIMES:
        if name in members:
            members[name] = times.shown_time(members[name])
    if "summary" in members:
        members["summary"] = str(query.summary).lower()
    return urlencode({**members, "cursor": cursor}, doseq=True)


def page_cursor(position: PageEnd, order: Order) -> str:
    """The end of a page, as `next` has it."""
    if isinstance(position, int):
        return cursor_of(str(position))
    at, number = position
    return cursor_of(f"{_LETTERS[order]}{at!r}:{number}")


def page_end(cursor: str, order: Order) -> PageEnd:
    """The inverse.

    Raises:
        RequestValidationError: it is none, or of a list in another order.
    """
    return position_of(cursor, lambda text: _place_of(text, order))


def _place_of(text: str, order: Order) -> PageEnd:
    found = _PLACE.fullmatch(text)
    if found is None and order is Order.CREATED:
        return number_of(text)
    if found is None or found[1] != _LETTERS[order] or not math.isfinite(float(found[2])):
        raise ValueError(text)
    return float(found[2]), number_of(found[3])
