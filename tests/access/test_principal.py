"""A principal may what its key's role or grants say; without keys all may everything."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from afterwards.access.key import Key, Limits
from afterwards.access.principal import ANYONE, Principal
from afterwards.access.roles import Grant, Role
from afterwards.api.roles import Needs


def with_key(**changes: Any) -> Principal:
    members: dict[str, Any] = {
        "id": "abcdef012345", "name": "ci", "principal": "builds", "role": None,
        "created_at": 0.0, "digest": b"",
    }  # fmt: skip
    return Principal(Key(**{**members, **changes}))


@pytest.mark.parametrize(("has", "needed"), list(itertools.product(list(Role)[1:], Role)))
def test_a_role_may_what_it_and_those_below_it_may(has: Role, needed: Role) -> None:
    order = list(Role)
    allowed = order.index(has) >= order.index(needed)
    assert with_key(role=has).may(Needs(needed)) is allowed
    assert with_key(role=has).may_for_own(Needs(needed)) is allowed


def test_a_grant_is_enough_where_the_route_says_so_and_nowhere_else() -> None:
    metrics = with_key(grants=frozenset({Grant.METRICS}))
    assert metrics.may(Needs(Role.VIEWER, grant=Grant.METRICS))
    assert metrics.may(Needs(Role.PUBLIC))
    assert not metrics.may(Needs(Role.VIEWER))
    assert not metrics.may(Needs(Role.SUBMITTER, grant=Grant.SUBMIT))
    assert not with_key(role=Role.VIEWER).may(Needs(Role.SUBMITTER, grant=Grant.SUBMIT))


def test_a_lower_role_is_enough_for_own_tasks_where_the_route_says_so() -> None:
    submitter = with_key(role=Role.SUBMITTER)
    cancel = Needs(Role.OPERATOR, own=Role.SUBMITTER)
    assert not submitter.may(cancel)
    assert submitter.may_for_own(cancel)
    assert not submitter.may_for_own(Needs(Role.OPERATOR))
    assert not with_key(role=Role.VIEWER).may_for_own(cancel)
    assert not with_key(grants=frozenset({Grant.SUBMIT})).may_for_own(cancel)


def test_own_tasks_are_those_of_the_principal_and_not_of_the_key() -> None:
    assert with_key().owns("builds")
    assert not with_key().owns("ci")
    assert not with_key().owns(None)


def test_a_principal_tells_what_its_key_says() -> None:
    principal = with_key(
        types=frozenset({"email"}), labels={"tenant": "acme"}, payloads=True,
        limits=Limits(streams=2),
    )  # fmt: skip
    assert (principal.owner, principal.key_id, principal.actor) == ("builds", "abcdef012345", "ci")
    assert principal.types == frozenset({"email"})
    assert principal.labels == {"tenant": "acme"}
    assert principal.sees_payloads
    assert principal.limits.streams == 2
    assert not with_key().sees_payloads


@pytest.mark.parametrize("role", Role)
def test_anyone_may_everything_and_owns_nothing_in_particular(role: Role) -> None:
    assert ANYONE.may(Needs(role))
    assert ANYONE.sees_payloads
    assert ANYONE.owns("builds")
    assert ANYONE.owns(None)
    assert (ANYONE.types, ANYONE.labels, ANYONE.owner, ANYONE.key_id, ANYONE.actor) == (None,) * 5
    assert ANYONE.limits == Limits()
