"""Deliveries: the tasks that bring notices to their receivers."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from afterwards.lifecycle import DEFAULT_PRIORITY, Task
from afterwards.webhooks.notice import CALLBACKS
from afterwards.webhooks.webhook import DELIVERY, Callback

MAX_AGE_SECONDS: Final = 3 * 86_400.0
"""No attempt starts later."""

DELAYS_SECONDS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 72_000)
"""The times between attempts; together less than `MAX_AGE_SECONDS`, so that the last attempt says
why it has failed."""

MAX_ATTEMPTS: Final = len(DELAYS_SECONDS) + 1

PRIORITY: Final = DEFAULT_PRIORITY - 1
"""Below the work of clients that ask for none."""

GIVE_UP_SECONDS: Final = 5 * 86_400.0
"""A webhook whose attempts have failed for so long, and none succeeded, is disabled."""

_OF_WEBHOOK: Final = "webhook:"
_OF_CALLBACK: Final = "callback:"


def delivery(
    task_id: str,
    payload: bytes,
    now: float,
    *,
    receiver: str,
    callback: str | None = None,
    name: str | None = None,
    about: str | None = None,
) -> Task:
    """A new delivery.

    Args:
        payload: the notice.
        receiver: the id of a webhook, or `CALLBACKS`.
        callback: of a notice to one.
        name: of the webhook.
        about: the id of the task that has ended; None: it is a test.
    """
    labels = {"task": about, "webhook": name}
    told = {key: value for key, value in labels.items() if value is not None}
    return Task(
        id=task_id,
        type=DELIVERY,
        payload=payload,
        executor="async",
        created_at=now,
        run_at=now,
        max_attempts=MAX_ATTEMPTS,
        deadline=now + MAX_AGE_SECONDS,
        priority=PRIORITY,
        labels=json.dumps(told, ensure_ascii=False, separators=(",", ":")),
        concurrency_key=key_of(receiver, callback),
        callback=callback,
        reason="a task has finished",
    )


def seconds_after_losses(task: Task) -> float | None:
    """The time until the next attempt at a delivery that was lost too often with its process.

    It runs none but the service's own code, so it is not to blame. None: the task is no delivery.
    """
    if task.type != DELIVERY:
        return None
    return float(DELAYS_SECONDS[min(task.attempts_used, len(DELAYS_SECONDS) - 1)])


def receiver_of(task: Task) -> str:
    """The receiver of a delivery: the id of a webhook, or `CALLBACKS`."""
    key = task.concurrency_key or ""
    return key.removeprefix(_OF_WEBHOOK) if key.startswith(_OF_WEBHOOK) else CALLBACKS


def key_of_webhook(webhook_id: str) -> str:
    """The concurrency key of the deliveries to a webhook."""
    return f"{_OF_WEBHOOK}{webhook_id}"


def key_of(receiver: str, callback: str | None) -> str:
    """The key of the deliveries that may wait for each other: those to one webhook, or one host."""
    if callback is None:
        return key_of_webhook(receiver)
    parts = urlsplit(Callback.decode(callback).url)
    # Anybody who lists tasks sees the key, and a host may be somebody's secret.
    digest = sha256(f"{parts.scheme}://{parts.netloc}".encode()).hexdigest()
    return f"{_OF_CALLBACK}{digest[:16]}"
