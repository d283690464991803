"""Types that are gone: a start says how many tasks and schedules there are of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from structlog.testing import capture_logs

from afterwards.registry.protocol.requests import Add, DeclareSchedules, PutSchedule
from tests.registry.bench import Bench, SteppedRegistry
from tests.registry.peers import Peer, ask, make_schedule


@pytest.fixture
def registry(bench: Bench) -> SteppedRegistry:
    """Three tasks and a schedule of `charge`, a schedule of `invoice`, one task of `note`."""
    registry = bench.registry(journal=bench.journal())
    for type_name in ("charge", "charge", "charge", "note"):
        ask(registry, Add(bench.task(type=type_name)))
    for name in ("charge", "invoice"):
        ask(registry, PutSchedule(make_schedule(name, pattern=bench.task(type=name))))
    return registry


def said_when_joined(bench: Bench, registry: SteppedRegistry, known: Iterable[str]) -> list[Any]:
    peer = Peer(registry, bench.machine.start(), {})
    peer.known_types = frozenset(known)
    with capture_logs() as lines:
        assert peer.join().answers == [None]
    return [(line["tasks"], line["schedules"]) for line in lines if "no longer" in line["event"]]


def test_a_start_says_how_many_tasks_and_schedules_there_are_of_types_that_are_gone(
    bench: Bench, registry: SteppedRegistry
) -> None:
    registry = bench.registry(journal=bench.crash())

    gone = ({"charge": 3}, {"charge": 1, "invoice": 1})
    assert said_when_joined(bench, registry, ["note"]) == [gone]


def test_it_is_said_once_for_all_workers(bench: Bench, registry: SteppedRegistry) -> None:
    assert len(said_when_joined(bench, registry, ["note"])) == 1

    assert said_when_joined(bench, registry, ["note"]) == []
    # After a reload without another one.
    assert said_when_joined(bench, registry, ["other"]) == [
        ({"charge": 3}, {"charge": 1, "invoice": 1})
    ]


@pytest.mark.parametrize("known", [[], ["note", "charge", "invoice"]])
def test_nothing_is_said_where_nothing_is_gone_or_nobody_says_what_is_known(
    bench: Bench, registry: SteppedRegistry, known: list[str]
) -> None:
    assert said_when_joined(bench, registry, known) == []


def test_what_another_worker_knows_is_not_gone(bench: Bench, registry: SteppedRegistry) -> None:
    assert said_when_joined(bench, registry, ["note", "charge", "invoice"]) == []

    assert said_when_joined(bench, registry, ["note"]) == []


def test_a_declared_schedule_that_is_gone_with_its_type_makes_no_tasks_and_is_not_told_of(
    bench: Bench,
) -> None:
    registry = bench.registry(journal=bench.journal())
    pattern = bench.task(type="charge")
    declared = [make_schedule(name, pattern=pattern, module="shop") for name in ("a", "b")]
    ask(registry, DeclareSchedules(1, declared))
    ask(registry, DeclareSchedules(1, declared[:1]))

    assert said_when_joined(bench, registry, ["note"]) == [({}, {"charge": 1})]
