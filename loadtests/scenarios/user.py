"""The behaviour of all users: submit, note what was accepted, and read its state."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from locust import FastHttpUser

from loadtests.verdict import ledger

POLL_SECONDS: Final = 0.5
"""The time for which a person waits before looking again."""

NOTIFICATION: Final = {"email": "johndoe@example.com", "message": "Your submission was received."}

SUBMISSIONS: Final[Mapping[str, Callable[[], dict[str, Any] | None]]] = {
    "/notify/": lambda: NOTIFICATION,
    "/report/": lambda: {"name": "Sales Report", "details": {"month": "June", "region": "Asia"}},
    "/file/": lambda: {"content": {"number": random.random(), "lines": ["x" * 60] * 5}},  # noqa: S311 - no secret
    "/send-email": lambda: {"email": "johndoe@example.com", "subject": "Hello", "body": "x" * 200},
    "/api/notifications/notify": lambda: None,
}
"""Every route that accepts a task, and a body for it."""


class TaskUser(FastHttpUser):
    """A user of the service; the scenarios say what they do."""

    abstract = True

    def submit(self, path: str, body: Mapping[str, Any] | None = None) -> str | None:
        """Submit a task; its id, if it was accepted."""
        json = SUBMISSIONS[path]() if body is None else body
        with self.client.post(path, json=json, catch_response=True) as answer:
            location = (answer.headers or {}).get("location", "")
            if answer.status_code not in (200, 202) or not location:
                answer.failure(f"not accepted: {answer.status_code} {answer.text}")
                return None
            task_id = str(location).rpartition("/")[2]
            # On disk from here on; the verdict asks for it.
            ledger.accepted.add(task_id)
            return task_id

    def status(self, task_id: str) -> dict[str, Any] | None:
        """The task's document, if the service knows the task."""
        with self.client.get(
            f"/status/{task_id}", name="/status/{task_id}", catch_response=True
        ) as answer:
            document: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
            if document is None or document.get("id") != task_id:
                answer.failure(f"not its status: {answer.status_code} {answer.text}")
                return None
            return document

    def wait_finished(self, task_id: str) -> dict[str, Any] | None:
        """Look again and again, as people do; None if the service does not know the task."""
        while (document := self.status(task_id)) and document["status"] == "pending":
            time.sleep(POLL_SECONDS)
        return document

    def expect(self, name: str, document: Mapping[str, Any] | None, **fields: object) -> None:
        """Have a finished task that is not as expected count as a failed request."""
        wrong = document is not None and {
            field: document[field] for field, value in fields.items() if document[field] != value
        }
        if wrong:
            self.environment.events.request.fire(
                request_type="GET",
                name=name,
                response_time=0,
                response_length=0,
                exception=AssertionError(f"expected {fields}, seen {wrong}"),
                context={},
            )
