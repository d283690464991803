"""The questions of attempts about other tasks, and the answers, as they cross between processes.

Each is a line of JSON, and what it is about: a payload, or the members of a group. Whatever comes
from a host may be anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from afterwards.lifecycle import Task

_to_json: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


class Problem(StrEnum):
    """The kind of refusal that an answer tells."""

    REFUSED = "refused"
    """For good."""
    UNAVAILABLE = "unavailable"
    """It may be accepted later."""
    CANCELLED = "cancelled"
    """The task's cancellation was asked for."""


def encode(head: Mapping[str, Any], body: bytes = b"") -> bytes:
    """A message."""
    return _to_json(head).encode("ascii") + b"\n" + body


def decode(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The inverse.

    Raises:
        ValueError, TypeError: it is no message.
    """
    line, _, body = data.partition(b"\n")
    try:
        head = json.loads(line)
    except RecursionError:
        raise ValueError("a message that is nested too deep") from None
    if not isinstance(head, dict):
        raise TypeError("a message without a head")
    return head, body


def encode_members(tasks: Iterable[Task], after: int | None) -> bytes:
    """A page of a group's members. Their results are JSON already."""
    members = [
        b"[%b,%b]"
        % (
            _to_json([task.id, task.type, task.state.value, task.error]).encode("ascii"),
            task.result or b"null",
        )
        for task in tasks
    ]
    return encode({"next": after}, b"[%b]" % b",".join(members))
