"""Which role each route needs: declared where the route is, and by every one of them.

No key is asked for yet, so each client has every role. A check of keys reads `Needs` of the route
that matched, never the path's text.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeVar

_ATTRIBUTE: Final = "needs"

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


class Role(StrEnum):
    """The rights of a client. Each role has those before it."""

    PUBLIC = "public"
    """All clients: signs of life, and pages without any data."""
    VIEWER = "viewer"
    """Look."""
    SUBMITTER = "submitter"
    """Submit tasks; cancel and retry one's own."""
    OPERATOR = "operator"
    """Do anything to any task, task type and schedule."""
    ADMIN = "admin"
    """Say who may do what."""


class Needs(NamedTuple):
    """The role that a route needs."""

    role: Role
    own: Role | None = None
    """Enough for tasks that one has submitted oneself; None: those are no exception."""


def needs(role: Role, *, own: Role | None = None) -> Callable[[_Endpoint], _Endpoint]:
    """Declare what the route of an endpoint needs. It stands between the route and the endpoint."""

    def declare(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _ATTRIBUTE, Needs(role, own))
        return endpoint

    return declare


def needs_of(endpoint: Callable[..., Any]) -> Needs | None:
    """The declaration of an endpoint; None: there is none."""
    found: Needs | None = getattr(endpoint, _ATTRIBUTE, None)
    return found


def as_extension(declared: Needs) -> dict[str, str]:
    """The same in OpenAPI."""
    extension = {"x-role": declared.role.value}
    if declared.own is not None:
        extension["x-role-for-own-tasks"] = declared.own.value
    return extension
