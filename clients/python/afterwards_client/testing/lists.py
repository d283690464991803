"""Lists of a fake service's tasks: which meet a filter, in which order, and page by page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from afterwards_client.testing.problems import Mistake, NotFaked, invalid
from afterwards_client.testing.record import Record

CONDITIONS: Final = (
    *("status", "type", "label", "concurrency_key", "unique_key", "q", "error", "parent", "group"),
    *("created_after", "created_before", "finished_after", "finished_before"),
)
_STATES: Final = frozenset(
    {"scheduled", "pending", "processing", "success", "failed", "cancelled", "retrying"}
)
_MOST_ON_A_PAGE: Final = 500

Query = Mapping[str, Sequence[str]]


def matching(records: Iterable[Record], query: Query) -> list[Record]:
    """The tasks that meet all conditions. Raises `Refusal`."""
    if query.get("error"):
        raise NotFaked("The fake has no groups of errors; list the failed tasks instead")
    for index, status in enumerate(query.get("status", ())):
        if status not in _STATES:
            raise invalid([Mistake(("status", index), f"there is no state {status!r}", "query")])
    return [one for one in records if _meets(one, query)]


def in_order(records: Iterable[Record], order: str) -> list[Record]:
    """The tasks in the order of a list, without those that it leaves out."""
    if order == "finished":
        ended = [one for one in records if one.finished_at is not None]
        return sorted(ended, key=lambda one: (one.finished_at, one.number), reverse=True)
    if order == "due":
        due = [one for one in records if not one.is_final and one.run_at is not None]
        return sorted(due, key=lambda one: (one.run_at, one.number))
    return sorted(records, key=lambda one: one.number, reverse=True)


def page(items: Sequence[Any], query: Query) -> tuple[Sequence[Any], str | None]:
    """A page of a list, and the cursor of the next one. Raises `Refusal`."""
    limit = _whole(query, "limit", 50)
    if not 1 <= limit <= _MOST_ON_A_PAGE:
        problem = f"Input should be less than or equal to {_MOST_ON_A_PAGE}"
        raise invalid([Mistake(("limit",), problem, "query")])
    start = _whole(query, "cursor", 0)
    end = start + limit
    return items[start:end], str(end) if end < len(items) else None


def one_of(query: Query, name: str) -> str | None:
    """The value of a member that is there once; None: it is not there."""
    values = query.get(name, ())
    return values[0] if values else None


def _whole(query: Query, name: str, otherwise: int) -> int:
    value = one_of(query, name)
    if value is None:
        return otherwise
    if not value.isdecimal():
        raise invalid([Mistake((name,), "Input should be a valid integer", "query")])
    return int(value)


def _meets(record: Record, query: Query) -> bool:
    statuses, types = query.get("status", ()), query.get("type", ())
    if statuses and not (record.status in statuses or ("retrying" in statuses and record.retrying)):
        return False
    if types and record.type not in types:
        return False
    if not all(_has_label(record, label) for label in query.get("label", ())):
        return False
    for name in ("concurrency_key", "unique_key", "group"):
        wanted = one_of(query, name)
        if wanted is not None and getattr(record, name) != wanted:
            return False
    # The fake runs no work, so no task has submitted any.
    if one_of(query, "parent") is not None:
        return False
    text = one_of(query, "q")
    return (text is None or _is_found(record, text)) and _is_in_time(record, query)


def _has_label(record: Record, label: str) -> bool:
    key, equals, value = label.partition("=")
    return key in record.labels and (not equals or record.labels[key] == value)


def _is_in_time(record: Record, query: Query) -> bool:
    for member, at in (("created", record.created_at), ("finished", record.finished_at)):
        after, before = one_of(query, f"{member}_after"), one_of(query, f"{member}_before")
        if after is not None and (at is None or at < datetime.fromisoformat(after)):
            return False
        if before is not None and (at is None or at >= datetime.fromisoformat(before)):
            return False
    return True


def _is_found(record: Record, text: str) -> bool:
    if text.startswith("payload."):
        path, equals, wanted = text.removeprefix("payload.").partition("=")
        if equals:
            return _is_at(record.payload, path.split("."), wanted)
    content = json.dumps(record.payload, ensure_ascii=False) + (record.error or "")
    return record.id.startswith(text) or text.casefold() in content.casefold()


def _is_at(value: Any, path: Sequence[str], wanted: str) -> bool:
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    said = value if isinstance(value, str) else json.dumps(value)
    return bool(said == wanted)
