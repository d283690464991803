"""Notices: the content of a delivery, from the task that it tells of to the body that is sent.

A delivery is a task of the type `webhook`. Its payload is a notice:

    {"id": "<task>_<retries>_<state>",     the header `webhook-id`, the same for every attempt
     "webhook": "orders",                  the name of the webhook; null: it is a callback
     "event": {                            the body: what is signed and sent, as compact JSON
        "type": "task.success",            or `task.failed`, `task.cancelled`, `webhook.test`
        "timestamp": "2026-01-31T12:00:00.250Z",
        "data": {"id", "type", "status", "labels", "retries", "created_at", "finished_at",
                 "error"}}}

A notice has neither the task's payload nor its result: its receiver gets those from the service, if
its key reaches so far. It is made when the task ends, and is not changed by what happens to the
task later.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from afterwards.lifecycle import Task
from afterwards.moments import shown
from afterwards.webhooks.webhook import Callback

TEST_EVENT: Final = "webhook.test"


class Notice(NamedTuple):
    """A notice that waits for room to become a delivery."""

    receiver: str
    """The id of a webhook; `CALLBACKS`: the task's own callback."""
    number: int
    """Grows with each notice."""
    task: str
    """The id of the task that has ended."""
    payload: bytes
    """The payload of its delivery."""
    callback: str | None = None
    """As `Task.callback`."""


CALLBACKS: Final = "callbacks"
"""The receiver of the notices to all callbacks."""


def webhook_id(task: Task) -> str:
    """The id of the notice of this end of a task. Full stops delimit it in what is signed."""
    return f"{task.id}_{task.retries}_{task.state.value}"


def notice_of(task: Task, webhook: str | None) -> bytes:
    """The notice that a task has ended, as the payload of a delivery.

    Args:
        task: as it is after its end.
        webhook: the name of the receiver; None: it is the task's own callback.
    """
    finished_at = task.finished_at or 0.0
    data = {
        "id": task.id,
        "type": task.type,
        "status": task.state.value,
        "labels": {} if task.labels is None else json.loads(task.labels),
        "retries": task.retries,
        "created_at": _rfc3339(task.created_at),
        "finished_at": _rfc3339(finished_at),
        "error": task.error if webhook is not None or _tells_errors(task) else None,
    }
    return _encoded(webhook_id(task), webhook, f"task.{task.state.value}", finished_at, data)


def _tells_errors(task: Task) -> bool:
    return task.callback is None or Callback.decode(task.callback).with_error


def trial_notice(delivery_id: str, webhook: str, now: float) -> bytes:
    """A notice of no task, to try out a webhook.

    Args:
        delivery_id: the id of its delivery, which is unique.
    """
    data = {"webhook": webhook, "message": "This is a test; no task has finished."}
    return _encoded(f"{delivery_id}_test", webhook, TEST_EVENT, now, data)


def _encoded(
    notice_id: str, webhook: str | None, event: str, at: float, data: dict[str, Any]
) -> bytes:
    content = {"type": event, "timestamp": _rfc3339(at), "data": data}
    notice = {"id": notice_id, "webhook": webhook, "event": content}
    return json.dumps(notice, ensure_ascii=False, separators=(",", ":")).encode()


def _rfc3339(timestamp: float) -> str:
    return shown(timestamp).isoformat(timespec="milliseconds")[:-6] + "Z"
