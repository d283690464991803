"""Verbs that a key does not reach leave an entry in the log of activity, as all refused ones do.

The registry notes what it refuses itself. It is not asked for what is refused before.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from fastapi import Request

from afterwards.api.asker import asker
from afterwards.errors import NotAllowed, Unavailable
from afterwards.logs import get_logger

log = get_logger(__name__)

NOT_READ: Final = "(not read)"
"""The name of an object that only the body tells: no body is read before its sender is let in."""


class _Words(NamedTuple):
    """A verb as the log of activity says it."""

    verb: str
    object: str
    parameter: str | None = None
    """The part of the path that names the object."""


WORDS: Final[Mapping[str, _Words]] = MappingProxyType(
    {
        "retryTask": _Words("retry", "task", "task_id"),
        "retryAnyTask": _Words("retry", "task", "task_id"),
        "cancelTask": _Words("cancel", "task", "task_id"),
        "runTask": _Words("run", "task", "task_id"),
        "changeTask": _Words("change", "task", "task_id"),
        "deleteTask": _Words("delete", "task", "task_id"),
        "retryTasks": _Words("retry", "tasks"),
        "cancelTasks": _Words("cancel", "tasks"),
        "runTasks": _Words("run", "tasks"),
        "deleteTasks": _Words("delete", "tasks"),
        "pauseTaskType": _Words("pause", "task type", "name"),
        "resumeTaskType": _Words("resume", "task type", "name"),
        "putSchedule": _Words("replace", "schedule", "name"),
        "deleteSchedule": _Words("delete", "schedule", "name"),
        "pauseSchedule": _Words("pause", "schedule", "name"),
        "resumeSchedule": _Words("resume", "schedule", "name"),
        "runSchedule": _Words("run", "schedule", "name"),
        "putWebhook": _Words("replace", "webhook", "name"),
        "deleteWebhook": _Words("delete", "webhook", "name"),
        "rotateWebhookSecret": _Words("rotate", "webhook", "name"),
        "enableWebhook": _Words("enable", "webhook", "name"),
        "disableWebhook": _Words("disable", "webhook", "name"),
        "testWebhook": _Words("test", "webhook", "name"),
        "replayWebhook": _Words("replay", "webhook", "name"),
        "createKey": _Words("create", "key"),
        "rotateKey": _Words("rotate", "key", "key_id"),
        "revokeKey": _Words("revoke", "key", "key_id"),
    }
)
"""The verbs by hand, by the `operation_id` of their routes."""


async def remember(request: Request, refusal: NotAllowed) -> None:
    """Have an entry, if the request was for a verb by hand. It is on disk on return.

    A registry that cannot take the entry makes the refusal no less one; the log has a line then.
    """
    words = WORDS.get(getattr(request.scope.get("route"), "operation_id", None) or "")
    if words is None:
        return
    name = NOT_READ if words.parameter is None else request.path_params[words.parameter]
    operations = request.app.state.service.operations
    try:
        await operations.note_refusal(asker(request), words.verb, words.object, name, str(refusal))
    except Unavailable as error:
        log.warning("a refusal is not in the log of activity", error=str(error))
