"""Deliveries of webhooks: a notice, signed and posted to its receiver.

The service makes these tasks when others finish; no client submits one. The payload is a notice
(`afterwards.webhooks.notice`). URL and secrets come with each attempt, as they are by then.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, JsonValue
from tenacity import wait_chain, wait_random

from afterwards import __version__
from afterwards.outgoing.calls import Answer, Call, Refused, Unanswered
from afterwards.outgoing.statuses import is_success, retry_after_seconds
from afterwards.task_types.base import (
    PermanentError,
    RetryPolicy,
    TaskContext,
    TaskType,
    TransientError,
)
from afterwards.webhooks.delivery import DELAYS_SECONDS, MAX_ATTEMPTS
from afterwards.webhooks.signatures import signed_headers
from afterwards.webhooks.webhook import DELIVERY
from afterwards_executors.retry import Gone

if TYPE_CHECKING:
    # Only the host that delivers loads an HTTP client.
    from afterwards.effects.effects import Effects

TIMEOUT_SECONDS: Final = 15.0
"""The recommendation of Standard Webhooks."""

AT_ONCE: Final = 8
"""Attempts at deliveries to one webhook, or to one host of callbacks: a slow one holds no more."""

_KEPT_BYTES: Final = 64 * 1024
"""A connection whose answer is longer is closed. None of it is kept with the task: what a receiver
answers is not for those who see tasks."""

_JITTER: Final = 0.2
"""Each delay is shorter by up to this part, so that what failed together does not come together."""

_MAX_RETRY_AFTER_SECONDS: Final = 86_400.0


class WebhookNotice(BaseModel):
    """A notice that a task has finished."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11_0_success",
                    "webhook": "orders",
                    "event": {
                        "type": "task.success",
                        "timestamp": "2026-11-21T10:00:00.000Z",
                        "data": {"id": "2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11"},
                    },
                }
            ]
        }
    )

    id: str
    webhook: str | None
    event: dict[str, JsonValue]


async def _deliver(payload: WebhookNotice, context: TaskContext) -> dict[str, Any]:
    effects: Effects = context.resources
    target = context.target
    settings, client = effects.settings.webhooks, effects.webhooks
    if target is None or settings is None or client is None:
        raise PermanentError("The delivery has no receiver")
    secrets = target.secrets or settings.secrets
    if not secrets:
        raise TransientError("There is no secret to sign with: set AFTERWARDS_WEBHOOK_SECRETS")
    body = json.dumps(payload.event, ensure_ascii=False, separators=(",", ":")).encode()
    call = Call(
        method="POST",
        url=target.url,
        headers=(
            ("Content-Type", "application/json"),
            ("User-Agent", f"Afterwards/{__version__}"),
            *signed_headers(payload.id, time.time(), body, secrets).items(),
        ),
        body=body,
        timeout_seconds=TIMEOUT_SECONDS,
        keep_bytes=_KEPT_BYTES,
    )
    try:
        answer = await client.send(call)
    except (Refused, Unanswered) as error:
        raise TransientError(f"The receiver was not reached: {error}") from None
    return _outcome(answer, context.attempts_used)


def _outcome(answer: Answer, attempts_used: int) -> dict[str, Any]:
    status = answer.status
    if is_success(status):
        return {"status": status}
    if status == 410:
        raise Gone("The receiver answered 410: it wants no more notices")
    asked = retry_after_seconds(answer, time.time(), most=_MAX_RETRY_AFTER_SECONDS)
    if asked is not None:
        # No sooner than without it: a receiver that says 1 for a day would use up all attempts.
        planned = DELAYS_SECONDS[min(attempts_used, len(DELAYS_SECONDS) - 1)]
        asked = max(asked, planned)
    raise TransientError(f"The receiver answered {status}", retry_after=asked)


WEBHOOK: Final = TaskType(
    DELIVERY,
    WebhookNotice,
    _deliver,
    retry=RetryPolicy(
        max_attempts=MAX_ATTEMPTS,
        wait=wait_chain(
            *(wait_random((1 - _JITTER) * seconds, seconds) for seconds in DELAYS_SECONDS)
        ),
    ),
    # Beside the call: to open its connection may have to wait for others.
    timeout=2 * TIMEOUT_SECONDS,
    concurrency_per_key=AT_ONCE,
)
