"""Roles, and the single grants of keys that have no role."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """The rights of a client. Each role has those before it, which `>=` tells."""

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

    # By rank, as the text's own order would put `admin` below `viewer`.
    def __lt__(self, other: str) -> bool:
        return _RANKS[self] < _RANKS[other]

    def __le__(self, other: str) -> bool:
        return _RANKS[self] <= _RANKS[other]

    def __gt__(self, other: str) -> bool:
        return _RANKS[self] > _RANKS[other]

    def __ge__(self, other: str) -> bool:
        return _RANKS[self] >= _RANKS[other]


_RANKS: dict[str, int] = {role: rank for rank, role in enumerate(Role)}


class Grant(StrEnum):
    """A right that a key without a role may have by itself."""

    SUBMIT = "submit"
    """Submit tasks, and nothing else."""
    METRICS = "metrics"
    """Read `/metrics`, and nothing else."""
