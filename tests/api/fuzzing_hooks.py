"""The rules of valid requests that schemathesis cannot know; loaded by it, see `test_fuzzing`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import schemathesis
from hypothesis import strategies as st

# Not at domains that nobody can have, such as a.test.
schemathesis.openapi.format("email", st.emails(domains=st.just("example.com")))

_numbers = itertools.count()

_CURSORS = {"due": "ZDEuMDox", "finished": "ZjEuMDox"}
"""The cursors after the first task, at the first second."""


_RECEIVER = "https://shop.example.com/finished"
_SECRET = f"whsec_{'A' * 32}"


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Put in what JSON Schema has no words for, where the request is meant to be valid."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if "Idempotency-Key" in (case.headers or {}):
        # With another body than the last time it would be a mistake.
        case.headers["Idempotency-Key"] = f"key-{next(_numbers)}"
    if "cursor" in (case.query or {}):
        # One of a list in the order that is asked for.
        case.query["cursor"] = _CURSORS.get(case.query.get("order"), "MTI0NQ")
    if "/schedules/" in case.path and isinstance(case.body, dict):
        if case.body.get("timezone") is not None:
            case.body["timezone"] = "Europe/Berlin"
        if case.body.get("cron") is not None:
            case.body["cron"] = "*/5 6-18 * * 1-5"
    if isinstance(case.body, dict):
        _name_receivers(case.path, case.body)
        _match_conflicts(case.body)


def _tasks_of(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The tasks that a body submits: itself, or those of a batch and the one that follows them."""
    for task in (body, body.get("then"), *(body.get("tasks") or ())):
        if isinstance(task, dict):
            yield task


def _name_receivers(path: str, body: dict[str, Any]) -> None:
    """Name URLs that notices may go to, and secrets that sign."""
    if path.startswith("/webhooks/") and "url" in body:
        body |= {"url": _RECEIVER, "types": []}
    for task in _tasks_of(body):
        if isinstance(task.get("callback"), dict):
            task["callback"] |= {"url": _RECEIVER, "secret": _SECRET}


def _match_conflicts(body: dict[str, Any]) -> None:
    """Say what becomes of a conflict only where there is a key, and in a batch only one thing."""
    for task in _tasks_of(body):
        if task.get("on_conflict") is not None:
            if task.get("unique_key") is None:
                task["on_conflict"] = None
            elif "tasks" in body:
                task["on_conflict"] = "reject"
