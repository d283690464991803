"""The routes of a fake service: which request is answered by what."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote

import httpx

from afterwards_client.testing.lists import Query
from afterwards_client.testing.problems import NotFaked, Refusal


class Asked(NamedTuple):
    """A request, and what its URL says."""

    request: httpx.Request
    names: Mapping[str, str]
    """The parts of the path."""
    query: Query

    def is_set(self, name: str) -> bool:
        """True if a flag of the query is set."""
        return self.query.get(name, [""])[0] in ("1", "true")


Answer = Callable[[Asked], httpx.Response]

_PART: Final = re.compile(r"\{(\w+)\}")

_OF_PROCESSES: Final = (
    *("/stats", "/stats/series", "/stats/events", "/workers"),
    *("/errors", "/errors/{id}", "/activity"),
)
"""Calls that tell of the service as it runs, and the fake runs nothing."""


_ROOTS: Final = (
    *("/tasks", "/groups", "/events", "/schedules", "/task-types", "/webhooks"),
    *("/stats", "/workers", "/errors", "/activity"),
)


class Routes:
    """A table of routes, by method and path."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Answer]] = []

    def add(self, method: str, path: str, answer: Answer) -> None:
        """Have requests answered by this."""
        self._routes.append((method, _pattern(path), answer))

    def answer(self, request: httpx.Request, base_path: str) -> httpx.Response:
        """The answer to a request. Raises `Refusal`, `NotFaked`."""
        raw = request.url.raw_path.decode("ascii").partition("?")[0]
        path = raw.removeprefix(base_path)
        query = parse_qs(request.url.query.decode("ascii"), keep_blank_values=True)
        allowed = False
        for method, pattern, answer in self._routes:
            found = pattern.fullmatch(path)
            if found is not None and method == request.method:
                names = {name: unquote(part) for name, part in found.groupdict().items()}
                return answer(Asked(request, names, query))
            allowed = allowed or found is not None
        if any(_pattern(one).fullmatch(path) for one in _OF_PROCESSES):
            raise NotFaked(
                f"The fake does not answer {request.method} {path}, which tells of a service as "
                "it runs; use a real one in this test"
            )
        if allowed:
            detail = f"{request.method} is not possible at {path}"
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, detail)
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is nothing at {path}")


def answered(
    document: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """An answer in JSON."""
    return httpx.Response(status, json=document, headers=dict(headers or {}))


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(_PART.sub(r"(?P<\1>[^/]+)", path))


def base_path(request: httpx.Request) -> str:
    """The path before that of the API: a client may have any URL."""
    path = request.url.raw_path.decode("ascii").partition("?")[0]
    found = [place for root in _ROOTS if (place := path.find(root)) >= 0]
    return path[: min(found)] if found else ""
