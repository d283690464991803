"""The routes of a fake service for tasks: one, several together, and their groups."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import httpx

from afterwards_client.testing import members, submissions
from afterwards_client.testing.clock import FakeClock
from afterwards_client.testing.problems import Mistake, NeverFinished, Refusal, invalid, not_found
from afterwards_client.testing.record import Record, artifact
from afterwards_client.testing.routes import Asked, Routes, answered
from afterwards_client.testing.store import Accepted, Store
from afterwards_client.testing.submissions import body_of
from afterwards_client.testing.task_types import FakeTypes

LONGEST_WAIT: Final = timedelta(hours=1)
"""A longer wait by the fake's clock is one for an end that never comes."""

_RETRY: Final = {"payload": members.json_object, "new_type": members.text, "run_at": members.time}
_CHANGE: Final = {"type": members.text, "payload": members.json_object, "run_at": members.time}


class TaskRoutes:
    """The answers about tasks by their ids."""

    def __init__(self, store: Store, types: FakeTypes, clock: FakeClock) -> None:
        self._store = store
        self._types = types
        self._clock = clock
        self._waited: dict[str, timedelta] = {}

    def add_to(self, routes: Routes) -> None:
        """Have them in the table."""
        for method, path, answer in (
            ("POST", "/tasks", self.submit),
            ("POST", "/tasks/batch", self.submit_many),
            ("GET", "/groups/{id}", self.group),
            ("GET", "/tasks/{id}", self.get),
            ("PATCH", "/tasks/{id}", self.change),
            ("DELETE", "/tasks/{id}", self.delete),
            ("POST", "/tasks/{id}/retry", self.retry),
            ("POST", "/tasks/{id}/run", self.run),
            ("POST", "/tasks/{id}/cancel", self.cancel),
            ("GET", "/tasks/{id}/artifacts", self.artifacts),
            ("GET", "/tasks/{id}/artifacts/{name}", self.download),
        ):
            routes.add(method, path, answer)

    def submit(self, asked: Asked) -> httpx.Response:
        body = body_of(asked.request)
        wanted = submissions.new_task(body, self._types)
        accepted = self._store.accept(_key(asked.request), body, lambda: self._store.single(wanted))
        [record] = accepted.records
        headers = {"Location": f"tasks/{record.id}", **_of(accepted)}
        return answered(record.document(), HTTPStatus.ACCEPTED, headers)

    def submit_many(self, asked: Asked) -> httpx.Response:
        body = body_of(asked.request)
        tasks, then = submissions.new_tasks(body, self._types)
        accepted = self._store.accept(
            _key(asked.request), body, lambda: self._store.batch(tasks, then)
        )
        records = list(accepted.records)
        follower = records.pop() if records and records[-1].follows is not None else None
        documents = [one.document() for one in records]
        answer: dict[str, Any] = {
            "tasks": documents,
            "then": None if follower is None else follower.document(),
        }
        return answered(answer, HTTPStatus.ACCEPTED, _of(accepted))

    def group(self, asked: Asked) -> httpx.Response:
        follower = self._store.get(asked.names["id"])
        if follower.follows is None:
            raise not_found()
        states = [one.status for one in self._store.members_of(follower)]
        counts = {
            name: states.count(state)
            for name, state in (
                ("succeeded", "success"), ("failed", "failed"), ("cancelled", "cancelled"),
            )
        }  # fmt: skip
        return answered(
            {
                "id": follower.id,
                "on": follower.follows,
                "size": follower.members,
                "finished": sum(counts.values()),
                **counts,
                "then": follower.document(),
            }
        )

    def get(self, asked: Asked) -> httpx.Response:
        record = self._store.get(asked.names["id"])
        seconds = _wait_seconds(asked)
        if seconds and not record.is_final:
            self._pass(record, timedelta(seconds=seconds))
        return answered(
            record.details(logs=asked.is_set("logs"), tracebacks=asked.is_set("tracebacks"))
        )

    def _pass(self, record: Record, time: timedelta) -> None:
        """Nothing in a test happens while it waits, but what the time brings."""
        self._clock.advance(time)
        waited = self._waited[record.id] = self._waited.get(record.id, timedelta()) + time
        if waited > LONGEST_WAIT:
            raise NeverFinished(
                f"task {record.id} ({record.type}) is waited for and {record.status}: nothing "
                "ends it. Say so before: service.succeeds(type, result), fails, runs, or "
                "succeed(task) and fail(task)"
            )

    def change(self, asked: Asked) -> httpx.Response:
        changes = submissions.change(body_of(asked.request), _CHANGE, something=True)
        record = self._store.get(asked.names["id"])
        self._require_taken(record, changes, "type")
        record.require("be changed", "scheduled")
        self._store.change(record, changes)
        if "run_at" in changes:
            record.run_at = datetime.fromisoformat(changes["run_at"])
        return answered(record.document())

    def retry(self, asked: Asked) -> httpx.Response:
        changes = submissions.change(body_of(asked.request), _RETRY)
        record = self._store.get(asked.names["id"])
        self._require_taken(record, changes, "new_type")
        if "new_type" in changes:
            changes["type"] = changes.pop("new_type")
        at = changes.get("run_at")
        run_at = None if at is None else datetime.fromisoformat(at)
        self._store.retry(record, run_at, changes)
        return answered(record.document(), HTTPStatus.ACCEPTED)

    def run(self, asked: Asked) -> httpx.Response:
        record = self._store.get(asked.names["id"])
        record.require("be run now", "scheduled")
        record.run_at = self._clock.now()
        self._store.move(record, "pending", "run now by hand")
        return answered(record.document())

    def delete(self, asked: Asked) -> httpx.Response:
        self._store.delete(self._store.get(asked.names["id"]))
        return httpx.Response(HTTPStatus.NO_CONTENT)

    def cancel(self, asked: Asked) -> httpx.Response:
        record = self._store.get(asked.names["id"])
        outcome = self._store.cancel(record)
        children = None
        if asked.is_set("children"):
            below = [one for one in self._store.members_of(record) if not one.is_final]
            for one in below:
                self._store.cancel(one)
            children = {"cancelled": len(below), "requested": 0, "more": False}
        document = {"outcome": outcome, "task": record.document(), "children": children}
        return answered(document)

    def artifacts(self, asked: Asked) -> httpx.Response:
        return answered({"artifacts": self._store.get(asked.names["id"]).document()["artifacts"]})

    def download(self, asked: Asked) -> httpx.Response:
        record, name = self._store.get(asked.names["id"]), asked.names["name"]
        data = record.artifacts.get(name)
        if data is None:
            detail = f"Task {record.id} has no artifact {name[:200]!r}"
            raise Refusal(HTTPStatus.NOT_FOUND, detail)
        told = artifact(name, data)
        headers = {"ETag": f'"{told["sha256"]}"', "Content-Type": told["media_type"]}
        begin = asked.request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")
        start = int(begin or 0)
        if not start:
            return httpx.Response(HTTPStatus.OK, content=data, headers=headers)
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return httpx.Response(HTTPStatus.PARTIAL_CONTENT, content=data[start:], headers=headers)

    def _require_taken(self, record: Record, changes: dict[str, Any], member: str) -> None:
        if "payload" not in changes and member not in changes:
            return
        name = changes.get(member, record.type)
        payload = changes.get("payload", record.payload)
        mistakes = self._types.mistakes(name, payload, (member,), ("payload",))
        if mistakes:
            raise invalid(mistakes)


def _of(accepted: Accepted) -> dict[str, str]:
    headers = {"Idempotent-Replayed": "true"} if accepted.replayed else {}
    return headers | ({"Existing-Task": "true"} if accepted.existing else {})


def _key(request: httpx.Request) -> str | None:
    sent: str | None = request.headers.get("Idempotency-Key")
    if sent is None:
        return None
    return sent.strip('"').replace('\\"', '"').replace("\\\\", "\\")


def _wait_seconds(asked: Asked) -> int:
    preferred: str = asked.request.headers.get("Prefer", "")
    sent = preferred.removeprefix("wait=") if preferred else asked.query.get("wait", ["0"])[0]
    if not sent.isdecimal():
        mistake = Mistake(("wait",), "must be a whole number of seconds", "query")
        raise invalid([mistake])
    return int(sent)
