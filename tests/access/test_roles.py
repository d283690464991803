"""Roles have a rank, which is not that of their names."""

from __future__ import annotations

from itertools import pairwise

import pytest

from afterwards.access.roles import Role

RANKS = [Role.PUBLIC, Role.VIEWER, Role.SUBMITTER, Role.OPERATOR, Role.ADMIN]


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(RANKS)))
def test_a_role_is_above_the_one_before_it(lower: Role, higher: Role) -> None:
    assert higher > lower
    assert higher >= lower
    assert lower < higher
    assert lower <= higher
    assert not lower >= higher
    assert not lower > higher
    assert not higher <= lower
    assert not higher < lower


@pytest.mark.parametrize("role", Role)
def test_a_role_is_as_high_as_itself(role: Role) -> None:
    assert role >= Role(role.value)
    assert role <= Role(role.value)
    assert not role > Role(role.value)


def test_sorted_roles_have_the_highest_last() -> None:
    assert sorted(Role, reverse=True) == RANKS[::-1]


def test_a_role_is_not_compared_with_what_is_none() -> None:
    with pytest.raises(KeyError):
        Role.ADMIN >= "root"  # noqa: B015 - it raises
