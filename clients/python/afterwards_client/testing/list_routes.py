"""The routes of a fake service for many tasks: lists, counts, verbs, and streams of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import httpx

from afterwards_client.testing import lists, members, submissions
from afterwards_client.testing.clock import FakeClock
from afterwards_client.testing.lists import CONDITIONS, Query
from afterwards_client.testing.problems import Mistake, NeverFinished, Refusal, invalid
from afterwards_client.testing.record import FINAL, Record
from afterwards_client.testing.routes import Asked, Routes, answered
from afterwards_client.testing.store import Store, StoredEvent
from afterwards_client.testing.submissions import body_of

_MOST_COUNTED: Final = 10_000
_LIMIT: Final = 1_000
_VERBS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "retry": (("failed",), ("failed", "cancelled")),
    "cancel": (("scheduled", "pending", "processing"),) * 2,
    "run": (("scheduled",),) * 2,
    "delete": ((), ("success", "failed", "cancelled")),
}
"""The states that a verb is for unless the body names some, and those that it can be for."""

_COUNTED: Final = {"retry": "retried", "cancel": "cancelled", "run": "run", "delete": "deleted"}
_STRING_OR_LIST: Final = ("status", "type", "label")


class ListRoutes:
    """The answers about many tasks, and the streams of their events."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self._store = store
        self._clock = clock

    def add_to(self, routes: Routes) -> None:
        """Have them in the table, before the routes for one task."""
        routes.add("GET", "/tasks", self.listed)
        routes.add("GET", "/tasks/count", self.count)
        routes.add("GET", "/events", self.events)
        routes.add("GET", "/tasks/{id}/events", self.events_of_one)
        for verb in _VERBS:
            routes.add("POST", f"/tasks/{verb}", self._for_many(verb))

    def listed(self, asked: Asked) -> httpx.Response:
        query = asked.query
        _require_known(query, (*CONDITIONS, "order", "summary", "limit", "cursor"))
        order = lists.one_of(query, "order") or "created"
        found = lists.in_order(lists.matching(self._store, query), order)
        shown, cursor = lists.page(found, query)
        is_summary = asked.is_set("summary")
        documents = [one.summary() if is_summary else one.document() for one in shown]
        return answered({"tasks": documents, "next": cursor, "scan": None})

    def count(self, asked: Asked) -> httpx.Response:
        _require_known(asked.query, CONDITIONS)
        number = len(lists.matching(self._store, asked.query))
        exact = number <= _MOST_COUNTED
        return answered({"count": min(number, _MOST_COUNTED), "exact": exact})

    # -- one verb for many ----------------------------------------------------------------------

    def _for_many(self, verb: str) -> Callable[[Asked], httpx.Response]:
        return lambda asked: self._carry_out(verb, asked)

    def _carry_out(self, verb: str, asked: Asked) -> httpx.Response:
        body = _selection(body_of(asked.request), verb)
        usual, possible = _VERBS[verb]
        limit = int(body.get("limit", _LIMIT))
        if "ids" in body:
            known = {one.id: one for one in self._store}
            found = [known[one] for one in body["ids"] if one in known]
            matched, more = len(body["ids"]), False
        else:
            states = _listed(body.get("status")) or list(usual or possible)
            query: Query = {name: _listed(body[name]) for name in CONDITIONS if name in body}
            every = lists.matching(self._store, {**query, "status": states})
            found = lists.in_order(every, "created")[:limit]
            matched, more = len(found), len(every) > len(found)
            if body.get("dry_run"):
                matched = len(every)
        done = 0
        if not body.get("dry_run"):
            done = sum(self._do(verb, one, body) for one in found if one.status in possible)
        answer = {
            "dry_run": bool(body.get("dry_run")),
            "matched": matched,
            _COUNTED[verb]: done,
            "skipped": 0 if body.get("dry_run") else matched - done,
            "more": more,
            "interrupted": None,
        }
        return answered(answer | ({"requested": 0} if verb == "cancel" else {}))

    def _do(self, verb: str, record: Record, body: Mapping[str, Any]) -> bool:
        try:
            if verb == "retry":
                changes = {"payload": body["payload"]} if "payload" in body else {}
                changes |= {"type": body["new_type"]} if "new_type" in body else {}
                self._store.retry(record, None, changes)
            elif verb == "cancel":
                self._store.cancel(record)
            elif verb == "run":
                record.run_at = self._clock.now()
                self._store.move(record, "pending", "run now by hand")
            else:
                self._store.delete(record)
        except Refusal:
            return False
        return True

    # -- events --------------------------------------------------------------------------------

    def events_of_one(self, asked: Asked) -> httpx.Response:
        record = self._store.get(asked.names["id"])
        after = _position(asked.request)
        if after is None:
            # The whole task first, and then what happens to it from now on.
            start = len(self._store.events)
            first = _frame(start, "task", record.document())
            return _stream(self._follow(start, [record.id], {}, first, record))
        return _stream(self._follow(after, [record.id], {}, b"", record))

    def events(self, asked: Asked) -> httpx.Response:
        after = _position(asked.request)
        start = len(self._store.events) if after is None else after
        ids = asked.query.get("task_id", [])
        first = b"" if after is not None else _frame(start, "reset", {"counts": self._counts()})
        return _stream(self._follow(start, ids, asked.query, first, None))

    def _follow(
        self, after: int, ids: Sequence[str], query: Query, first: bytes, only: Record | None
    ) -> Iterator[bytes]:
        """The events, as long as the test brings some about."""
        yield first
        while True:
            for event in self._store.events[after:]:
                after = event.number
                if _is_wanted(event, ids, query):
                    yield _frame(event.number, event.kind, event.data)
            if only is not None and only.status in FINAL:
                return
            if after == len(self._store.events):
                raise NeverFinished(
                    "the stream of events has no more, and nothing in the test brings some about; "
                    "end the task before the loop goes on, or leave the loop"
                )

    def _counts(self) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for one in self._store:
            of_type = counts.setdefault(one.type, {})
            of_type[one.status] = of_type.get(one.status, 0) + 1
        return counts


def _is_wanted(event: StoredEvent, ids: Sequence[str], query: Query) -> bool:
    types, states = query.get("type", ()), query.get("status", ())
    return (
        (not ids or event.task.id in ids)
        and (not types or event.task.type in types)
        and (not states or event.status in states)
    )


def _stream(frames: Iterator[bytes]) -> httpx.Response:
    headers = {"Content-Type": "text/event-stream; charset=utf-8"}
    return httpx.Response(HTTPStatus.OK, headers=headers, stream=Frames(frames))


class Frames(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that is made as it is read."""

    def __init__(self, frames: Iterator[bytes]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[bytes]:
        yield from self._frames

    async def __aiter__(self) -> Any:
        for frame in self._frames:
            yield frame


def _frame(number: int, name: str, data: Mapping[str, Any]) -> bytes:
    return f"id: fake-{number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _position(request: httpx.Request) -> int | None:
    sent = request.headers.get("Last-Event-ID", "").removeprefix("fake-")
    return int(sent) if sent.isdecimal() else None


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _selection(body: Any, verb: str) -> dict[str, Any]:
    checks: dict[str, members.Check] = dict.fromkeys(CONDITIONS, members.text)
    checks |= dict.fromkeys(_STRING_OR_LIST, lambda _: None)
    checks |= {
        "ids": members.list_of(members.text, _LIMIT, least=0),
        "dry_run": members.flag,
        "limit": members.number(1, 10_000, whole=True),
    }
    if verb == "retry":
        checks |= {"payload": members.json_object, "new_type": members.text}
    found = submissions.change(body, checks)
    conditions = [name for name in CONDITIONS if name in found]
    if "ids" in found and conditions:
        raise invalid([Mistake((), "send ids or a filter, not both")])
    if verb == "delete" and "ids" not in found and not conditions:
        problem = "say which tasks: send ids or a member of the filter"
        raise invalid([Mistake((), problem)])
    return found


def _require_known(query: Query, names: Sequence[str]) -> None:
    unknown = [
        Mistake((name,), "Extra inputs are not permitted", "query")
        for name in query
        if name not in names
    ]
    if unknown:
        raise invalid(unknown)
