"""The service's answers, as the API's contract has them."""

from __future__ import annotations

from typing import Any

ID = "463a6064-7979-4e48-ae70-1c6ccfd5b41f"
AT = "2026-11-21T09:10:08.539385+00:00"


def task(**members: Any) -> dict[str, Any]:
    """A task that waits, but for these members."""
    return {
        "id": ID,
        "type": "notification",
        "status": "pending",
        "payload": {"email": "a@example.com", "message": "Hello"},
        "result": None,
        "error": None,
        "created_at": AT,
        "run_at": AT,
        "started_at": None,
        "finished_at": None,
        "attempts": 0,
        "retries": 0,
        "max_attempts": 3,
        "priority": 4,
        "progress": None,
        "labels": {},
        "retrying": False,
        "concurrency_key": None,
        "unique_key": None,
        "waiting_for": None,
        **members,
    }


def summary(**members: Any) -> dict[str, Any]:
    """The same in a list of summaries."""
    found = {**task(), "digest": '{"email":"a@example.com"', **members}
    del found["payload"], found["result"]
    return found


def details(**members: Any) -> dict[str, Any]:
    """The same, as asked for by its id."""
    return {
        **task(),
        "executor": "async",
        "timeout_seconds": None,
        "deadline": None,
        "idempotency_key": None,
        "schedule": None,
        "cancel_requested": False,
        "history": [],
        **members,
    }


def succeeded(**members: Any) -> dict[str, Any]:
    """One that is finished, and well."""
    attempt = {
        "attempt": 1,
        "worker": "service:12:34",
        "started_at": AT,
        "finished_at": AT,
        "wait_seconds": 0.25,
        "run_seconds": 2.0,
        "outcome": "success",
        "error": None,
        "peak_memory_bytes": 34_000_000,
        "cpu_seconds": 1.5,
    }
    done = {"result": {"message": "Notification sent"}, "attempts": 1, "finished_at": AT}
    return details(status="success", history=[attempt], **done, **members)


def bulk(**members: Any) -> dict[str, Any]:
    """The outcome of a bulk verb: nothing, but for these members."""
    return {
        "dry_run": False,
        "matched": 0,
        "skipped": 0,
        "more": False,
        "interrupted": None,
        **members,
    }


def problem(status: int, detail: str = "No.", **members: Any) -> dict[str, Any]:
    """A problem document."""
    return {"type": "about:blank", "title": "No", "status": status, "detail": detail, **members}


def state(status: str, **members: Any) -> dict[str, Any]:
    """The data of a state event."""
    return {
        "task_id": ID,
        "type": "notification",
        "status": status,
        "at": AT,
        "reason": None,
        "attempt": 1,
        **members,
    }


def schedule(**members: Any) -> dict[str, Any]:
    """A schedule that has made no task yet, but for these members."""
    return {
        "name": "daily",
        "type": "report",
        "cron": "30 6 * * 1-5",
        "every_seconds": None,
        "timezone": "Europe/Berlin",
        "catch_up": False,
        "paused": False,
        "priority": 4,
        "max_attempts": 3,
        "timeout_seconds": None,
        "labels": {},
        "concurrency_key": None,
        "unique_key": None,
        "last_skipped": None,
        "module": None,
        "gone": False,
        "created_at": AT,
        "last_due": None,
        "last_task_id": None,
        "next_runs": [],
        "payload": {"name": "Sales"},
        "later_member": 1,
        **members,
    }


def webhook(**members: Any) -> dict[str, Any]:
    """An enabled webhook for all tasks, but for these members."""
    return {
        "name": "orders",
        "url": "https://shop.example.com/finished?token=t0ken",
        "events": ["failed", "success"],
        "types": [],
        "labels": {},
        "state": "enabled",
        "disabled_at": None,
        "disabled_because": None,
        "failing_since": None,
        "created_at": AT,
        "secrets": [{"ends_at": None}],
        "later_member": 1,
        **members,
    }
