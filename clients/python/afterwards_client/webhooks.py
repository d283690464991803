"""Webhooks, and the calls about them. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Self

from afterwards_client.calls import Call, no_content, said, segment
from afterwards_client.pages import Listing
from afterwards_client.retries import Retries
from afterwards_client.tasks import Task, TaskStatus
from afterwards_client.times import optional_time, seconds_of


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A URL that is told of finished tasks. Times are in UTC and aware of it."""

    name: str
    url: str = field(repr=False)
    """It may give access."""
    events: tuple[TaskStatus, ...]
    """The ends of tasks that it is told of."""
    types: tuple[str, ...]
    """The types of these tasks; empty: all."""
    labels: Mapping[str, str]
    """The tasks have all of these labels."""
    enabled: bool
    disabled_at: datetime | None
    disabled_because: str | None
    failing_since: datetime | None
    """The first failed attempt since the last success; None: none has failed."""
    created_at: datetime
    secret: str | None = field(default=None, repr=False)
    """A new secret, which the service shows this once; None: there is no new one."""
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError: it is no webhook.
        """
        return cls(
            name=document["name"],
            url=document["url"],
            events=tuple(map(TaskStatus, document["events"])),
            types=tuple(document["types"]),
            labels=document["labels"],
            enabled=document["state"] == "enabled",
            disabled_at=optional_time(document["disabled_at"]),
            disabled_because=document["disabled_because"],
            failing_since=optional_time(document["failing_since"]),
            created_at=datetime.fromisoformat(document["created_at"]),
            secret=document.get("secret"),
            document=document,
        )


@dataclass(frozen=True)
class Replayed:
    """The outcome of a replay."""

    matched: int
    """Tasks that fit the webhook."""
    replayed: int
    """Those that it is told of once more."""
    skipped: int
    """Those that were retried or deleted meanwhile."""
    interrupted: str | None
    """Why the rest was left; None: nothing was."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        names = ("matched", "replayed", "skipped", "interrupted")
        return cls(*(document[name] for name in names))


def listing(limit: int | None, retries: Retries) -> Listing[Webhook]:
    """All webhooks, by name."""
    return Listing("/webhooks", "webhooks", Webhook.of, limit=limit, retries=retries, query={})


def get(name: str) -> Call[Webhook]:
    """Look at a webhook."""
    return Call("GET", _webhook(name), Webhook.of)


def put(
    name: str,
    url: str,
    events: Sequence[str] | None,
    types: Sequence[str] | None,
    labels: Mapping[str, str] | None,
) -> Call[Webhook]:
    """Create a webhook, or replace the one of this name.

    Not sent twice: the answer to the first may have had the secret.
    """
    chosen = {
        "events": None if events is None else [str(one) for one in events],
        "types": None if types is None else list(types),
    }
    body = said({"url": url, **chosen, "labels": labels})
    return Call("PUT", _webhook(name), Webhook.of, body=body, repeatable=False)


def delete(name: str) -> Call[None]:
    """Delete a webhook."""
    return Call("DELETE", _webhook(name), no_content, done_status=HTTPStatus.NOT_FOUND)


def rotate(name: str, overlap: float | timedelta | None) -> Call[Webhook]:
    """Have a new secret. Not sent twice: the answer to the first may have had it."""
    body = said({"overlap_seconds": seconds_of(overlap)})
    path = f"{_webhook(name)}/secret"
    return Call("POST", path, Webhook.of, body=body, repeatable=False)


def enable(name: str) -> Call[Webhook]:
    """Have a webhook told of tasks again."""
    return Call("POST", f"{_webhook(name)}/enable", Webhook.of)


def disable(name: str) -> Call[Webhook]:
    """Have a webhook told of nothing."""
    return Call("POST", f"{_webhook(name)}/disable", Webhook.of)


def test(name: str) -> Call[Task]:
    """Send a notice of no task. Sent twice it would be two."""
    return Call("POST", f"{_webhook(name)}/test", Task.of, repeatable=False)


def replay(name: str, body: Mapping[str, Any]) -> Call[Replayed]:
    """Tell a webhook of tasks once more. Sent twice it would be told twice."""
    path = f"{_webhook(name)}/replay"
    return Call("POST", path, Replayed.of, body=body, repeatable=False)


def replay_body(
    task_id: str | None, since: datetime | None, until: datetime | None
) -> dict[str, Any]:
    """Which tasks, as JSON."""
    return said({"task_id": task_id, "since": since, "until": until})


def _webhook(name: str) -> str:
    return f"/webhooks/{segment(name, 'name of a webhook')}"
