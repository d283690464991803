"""Refusals of a fake service, as problem documents (RFC 9457), and what a test has done wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx

_TITLES = {HTTPStatus.UNPROCESSABLE_ENTITY: "Unprocessable Content"}
_MOST_LISTED = 20

Path = tuple[str | int, ...]


class NotFaked(NotImplementedError):
    """The fake has no such call: the test needs a real service for it."""


class NeverFinished(AssertionError):
    """A wait, or a stream, for something that nothing in the test brings about."""


class Mistake(NamedTuple):
    """One thing that is wrong with a request."""

    path: Path
    message: str
    location: str = "body"


class Refusal(Exception):
    """The service says no."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    def response(self) -> httpx.Response:
        """The answer."""
        status = HTTPStatus(self.status)
        document = {
            "type": "about:blank",
            "title": _TITLES.get(status, status.phrase),
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        headers = {"Content-Type": "application/problem+json", **self.headers}
        return httpx.Response(self.status, headers=headers, json=document)


def invalid(mistakes: Sequence[Mistake]) -> Refusal:
    """The refusal of a request with mistakes, of which there is one at least."""
    listed = [
        {"location": one.location, "pointer": _pointer(one.path), "message": one.message}
        for one in mistakes[:_MOST_LISTED]
    ]
    more = len(mistakes) - 1
    detail = f"{listed[0]['pointer']}: {listed[0]['message']}"
    detail += f" (and {more} more)" if more else ""
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=listed)


def not_found() -> Refusal:
    """No task has this id."""
    return Refusal(HTTPStatus.NOT_FOUND, "Task not found")


def illegal(task_id: str, status: str, verb: str) -> Refusal:
    """The state of a task does not allow this verb."""
    return Refusal(HTTPStatus.CONFLICT, f"Task {task_id} is {status} and cannot {verb}")


def _pointer(path: Path) -> str:
    return "#" + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
