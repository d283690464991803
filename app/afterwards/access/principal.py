"""The sender of a request, as far as rights go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from afterwards.access.key import NO_LIMITS, Key, Limits, Session
from afterwards.access.roles import Grant, Role


class Needed(Protocol):
    """The needs of a route, as `afterwards.api.roles` declares them."""

    @property
    def role(self) -> Role:
        """The role that is enough."""

    @property
    def own(self) -> Role | None:
        """The role that is enough for one's own tasks; None: those are no exception."""

    @property
    def grant(self) -> Grant | None:
        """The single grant that is enough; None: there is none."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The rights of a request.

    Args:
        key: its key; None: no key is required, and everything is allowed.
        session: the browser's session that stands for the key; None: the key itself was shown.
    """

    key: Key | None
    session: Session | None = field(default=None, repr=False)

    def may(self, needs: Needed) -> bool:
        """True if the route is allowed, for any owner's tasks."""
        key = self.key
        if key is None or needs.role is Role.PUBLIC:
            return True
        if needs.grant is not None and needs.grant in key.grants:
            return True
        return key.role is not None and key.role >= needs.role

    def may_for_own(self, needs: Needed) -> bool:
        """True if the route is allowed for one's own tasks, at least."""
        if self.may(needs):
            return True
        key = self.key
        if key is None or key.role is None or needs.own is None:
            return False
        return key.role >= needs.own

    def owns(self, owner: str | None) -> bool:
        """True for tasks of this `owner`, if they are one's own."""
        return self.key is None or self.key.principal == owner

    @property
    def sees_payloads(self) -> bool:
        """True if payloads, results, errors and what tasks print may be shown."""
        return self.key is None or self.key.payloads

    @property
    def types(self) -> frozenset[str] | None:
        """The task types within reach; None: all."""
        return None if self.key is None else self.key.types

    @property
    def labels(self) -> Mapping[str, str] | None:
        """Labels that each task within reach has; None: any or none."""
        return None if self.key is None else self.key.labels

    @property
    def limits(self) -> Limits:
        """The bounds of its use."""
        return NO_LIMITS if self.key is None else self.key.limits

    @property
    def owner(self) -> str | None:
        """The owner of what it submits; None: no owner."""
        return None if self.key is None else self.key.principal

    @property
    def key_id(self) -> str | None:
        """The id of its key; None: it has none."""
        return None if self.key is None else self.key.id

    @property
    def actor(self) -> str | None:
        """Its name in the log of activity; None: none had to be given."""
        return None if self.key is None else self.key.name


ANYONE: Final = Principal(None)
"""All clients, where keys are not required."""
