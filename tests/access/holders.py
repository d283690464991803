"""Keys, and the headers that show them."""

from __future__ import annotations

from typing import Any, NamedTuple

from afterwards.access.key import Key
from afterwards.access.keyring import Keyring
from afterwards.access.roles import Role
from afterwards.access.tokens import new_token


class Holder(NamedTuple):
    """A client with a key."""

    key: Key
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers that it sends with each request."""
        return {"Authorization": f"Bearer {self.token}"}


def holder(role: Role | None = None, name: str = "ci", **changes: Any) -> Holder:
    """The holder of a new key, which sees payloads unless `changes` say otherwise."""
    token = new_token()
    members: dict[str, Any] = {
        "id": token.id, "name": name, "principal": name, "role": role, "payloads": True,
        "created_at": 0.0, "digest": token.digest,
    }  # fmt: skip
    return Holder(Key(**{**members, **changes}), token.text)


def ring_of(*holders: Holder, version: int = 1) -> Keyring:
    """A ring with their keys, which each request needs one of."""
    return Keyring(version, required=True, keys=[one.key for one in holders])
