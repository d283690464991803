"""The routes of a fake service for schedules, and for task types. Schedules make no tasks."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import httpx

from afterwards_client.testing import lists, members
from afterwards_client.testing.clock import FakeClock, shown
from afterwards_client.testing.problems import Mistake, Refusal, invalid
from afterwards_client.testing.routes import Asked, Routes, answered
from afterwards_client.testing.store import Store, taken
from afterwards_client.testing.submissions import body_of
from afterwards_client.testing.task_types import FakeType, FakeTypes

_CRON_FIELDS: Final = 5
_MOST_NAME_CHARACTERS: Final = 100


def _cron(value: Any) -> str | None:
    if not isinstance(value, str):
        return "Input should be a valid string"
    fields = len(value.split())
    return None if fields == _CRON_FIELDS else f"a cron expression has 5 fields, and this {fields}"


_NEW: Final = {
    "type": members.text,
    "payload": members.json_object,
    "cron": _cron,
    "every_seconds": members.PERIOD,
    "timezone": members.text,
    "catch_up": members.flag,
    "paused": members.flag,
    "priority": members.PRIORITY,
    "max_attempts": members.MAX_ATTEMPTS,
    "timeout_seconds": members.TIMEOUT,
    "labels": members.labels,
    "concurrency_key": members.key,
    "unique_key": members.key,
}
_USUAL: Final[dict[str, Any]] = {
    "payload": {},
    "cron": None,
    "every_seconds": None,
    "timezone": "UTC",
    "catch_up": False,
    "paused": False,
    "priority": 4,
    "timeout_seconds": None,
    "labels": {},
    "concurrency_key": None,
    "unique_key": None,
}


class ScheduleRoutes:
    """Schedules by name, and the task types."""

    def __init__(self, store: Store, types: FakeTypes, clock: FakeClock) -> None:
        self._store = store
        self._types = types
        self._clock = clock
        self.schedules: dict[str, dict[str, Any]] = {}

    def add_to(self, routes: Routes) -> None:
        """Have them in the table."""
        for method, path, answer in (
            ("GET", "/schedules", self.listed),
            ("GET", "/schedules/{name}", self.get),
            ("PUT", "/schedules/{name}", self.put),
            ("DELETE", "/schedules/{name}", self.delete),
            ("POST", "/schedules/{name}/pause", self.pause),
            ("POST", "/schedules/{name}/resume", self.resume),
            ("POST", "/schedules/{name}/run", self.run),
            ("GET", "/task-types", self.types),
            ("GET", "/task-types/{name}", self.type),
            ("POST", "/task-types/{name}/pause", self.pause_type),
            ("POST", "/task-types/{name}/resume", self.resume_type),
        ):
            routes.add(method, path, answer)

    def listed(self, asked: Asked) -> httpx.Response:
        found = [self.schedules[name] for name in sorted(self.schedules)]
        shown_ones, cursor = lists.page(found, asked.query)
        documents = [dict(one) for one in shown_ones]
        for document in documents:
            if not asked.is_set("payloads"):
                del document["payload"]
            if asked.is_set("results"):
                document["results"] = []
        return answered({"schedules": documents, "next": cursor})

    def get(self, asked: Asked) -> httpx.Response:
        return answered(self._known(asked))

    def put(self, asked: Asked) -> httpx.Response:
        name, body = asked.names["name"], body_of(asked.request)
        if len(name) > _MOST_NAME_CHARACTERS or members.NAME.fullmatch(name) is None:
            raise invalid([Mistake(("name",), "this is no name of a schedule", "path")])
        mistakes = members.mistakes_in(body, _NEW, ("type",))
        if not mistakes:
            said = {member: value for member, value in body.items() if value is not None}
            if ("cron" in said) == ("every_seconds" in said):
                mistakes = [Mistake((), "send one of cron and every_seconds")]
            else:
                payload = said.get("payload", {})
                mistakes = self._types.mistakes(said["type"], payload, ("type",), ("payload",))
        if mistakes:
            raise invalid(mistakes)
        former = self.schedules.get(name)
        self.schedules[name] = document = {
            "name": name,
            **_USUAL,
            "max_attempts": self._types.require(said["type"]).max_attempts,
            **said,
            "created_at": shown(self._clock.now()) if former is None else former["created_at"],
            "last_due": None,
            "last_task_id": None,
            "last_skipped": None,
            "module": None,
            "gone": False,
            "next_runs": [],
        }
        status = HTTPStatus.CREATED if former is None else HTTPStatus.OK
        return answered(document, status, {"Location": name})

    def delete(self, asked: Asked) -> httpx.Response:
        del self.schedules[self._known(asked)["name"]]
        return httpx.Response(HTTPStatus.NO_CONTENT)

    def pause(self, asked: Asked) -> httpx.Response:
        found = self._known(asked)
        found["paused"] = True
        return answered(found)

    def resume(self, asked: Asked) -> httpx.Response:
        found = self._known(asked)
        found["paused"] = False
        return answered(found)

    def run(self, asked: Asked) -> httpx.Response:
        found = self._known(asked)
        other = self._store.with_unique_key(found["unique_key"])
        if other is not None:
            raise taken(other)
        made = self._store.accept(None, None, lambda: [self._made(found)])
        return answered(made.records[0].document(), HTTPStatus.ACCEPTED)

    def _made(self, schedule: dict[str, Any]) -> Any:
        names = ("type", "payload", "priority", "max_attempts", "timeout_seconds", "labels")
        keys = ("concurrency_key", "unique_key")
        wanted = {name: schedule[name] for name in (*names, *keys)}
        return self._store.new(wanted, schedule=schedule["name"])

    def _known(self, asked: Asked) -> dict[str, Any]:
        name = asked.names["name"]
        found = self.schedules.get(name)
        if found is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"There is no schedule {name[:100]!r}")
        return found

    # -- task types ----------------------------------------------------------------------------

    def types(self, asked: Asked) -> httpx.Response:
        del asked
        return answered({"task_types": [self._described(one) for one in self._types.all()]})

    def type(self, asked: Asked) -> httpx.Response:
        return answered(self._described(self._types.require(asked.names["name"])))

    def pause_type(self, asked: Asked) -> httpx.Response:
        found = self._types.require(asked.names["name"])
        found.paused = True
        return answered(self._described(found))

    def resume_type(self, asked: Asked) -> httpx.Response:
        found = self._types.require(asked.names["name"])
        found.paused = False
        return answered(self._described(found))

    def _described(self, task_type: FakeType) -> dict[str, Any]:
        counts: dict[str, int] = {}
        for one in self._store:
            if one.type == task_type.name:
                counts[one.status] = counts.get(one.status, 0) + 1
        return task_type.document(counts)
