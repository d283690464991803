"""The role that each route needs: declared where the route is, and by every one of them.

`afterwards.api.authorise` holds each request against the `Needs` of the route that has matched it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from afterwards.access.roles import Grant, Role

__all__ = ["Grant", "Needs", "Role", "as_extension", "needs", "needs_of"]

_ATTRIBUTE: Final = "needs"

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


class Needs(NamedTuple):
    """The role that a route needs."""

    role: Role
    own: Role | None = None
    """Enough for tasks that one has submitted oneself; None: those are no exception."""
    grant: Grant | None = None
    """Enough for a key without a role; None: there is no such grant."""


def needs(
    role: Role, *, own: Role | None = None, grant: Grant | None = None
) -> Callable[[_Endpoint], _Endpoint]:
    """Declare what the route of an endpoint needs. It stands between the route and the endpoint."""

    def declare(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _ATTRIBUTE, Needs(role, own, grant))
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
    if declared.grant is not None:
        extension["x-grant"] = declared.grant.value
    return extension
