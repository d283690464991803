"""Attempts of types that are known to behave run nearby, all others in hosts."""

from __future__ import annotations

import pytest

from afterwards.execution.executors import Executors
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.base import SUSPECTED
from afterwards_executors.hosts.settings import HostSettings
from tests.execution.test_dispatcher import ManualExecutor, ManualThreads


def claim(type_name: str, executor: str = "async") -> Claim:
    return Claim("t", 1, type_name, b"{}", executor, 0, 3, None)


@pytest.fixture
def hosted() -> dict[str, ManualExecutor]:
    return {"async": ManualExecutor(), "thread": ManualThreads(), "process": ManualExecutor()}


@pytest.fixture
def nearby() -> dict[str, ManualExecutor]:
    return {"async": ManualExecutor()}


@pytest.fixture
def executors(hosted: dict[str, ManualExecutor], nearby: dict[str, ManualExecutor]) -> Executors:
    return Executors(hosted, nearby, {"ours"})


def test_a_trusted_type_runs_in_this_process_where_that_has_its_kind(
    executors: Executors, hosted: dict[str, ManualExecutor], nearby: dict[str, ManualExecutor]
) -> None:
    assert executors.of(claim("ours")) is nearby["async"]
    assert executors.of(claim("ours", "process")) is hosted["process"]
    assert executors.of(claim("theirs")) is hosted["async"]


def test_a_type_that_reaches_the_outside_runs_in_the_host_of_effects(
    hosted: dict[str, ManualExecutor], nearby: dict[str, ManualExecutor]
) -> None:
    effects = ManualExecutor()
    executors = Executors(hosted, nearby, {"ours", "http"}, effects, {"http"})
    assert executors.of(claim("http")) is effects
    assert executors.of(claim("ours")) is nearby["async"]
    assert executors.of(claim("theirs")) is hosted["async"]
    # Its attempts take slots of their kind, and there are no more of those.
    assert executors.slots(lambda _: False)["async"] == 9
    assert executors.stuck()["async"] == 3
    executors.start()
    executors.renew(HostSettings())
    executors.wind_up()
    executors.shutdown(1.0)
    assert (effects.renewed_with, effects.winds_up, effects.closed) == (None, True, True)


def test_a_kind_that_there_is_not_is_an_error(executors: Executors) -> None:
    with pytest.raises(KeyError):
        executors.of(claim("theirs", "gpu"))


def test_slots_are_those_of_a_kind_without_what_is_stuck_in_this_process(
    executors: Executors,
) -> None:
    usable = executors.slots(lambda kind: kind == "process")
    # Each executor has ten, and one that is stuck: in a host that one still has its claim.
    assert usable == {"async": 9, "thread": 10, "process": 0, SUSPECTED: 2}
    assert executors.stuck() == {"async": 2, "thread": 1, "process": 1}


def test_a_shutdown_ends_all(
    executors: Executors, hosted: dict[str, ManualExecutor], nearby: dict[str, ManualExecutor]
) -> None:
    executors.shutdown(1.0)
    assert all(executor.closed for executor in [*hosted.values(), *nearby.values()])


def test_only_hosts_are_renewed_and_wound_up(
    executors: Executors, hosted: dict[str, ManualExecutor], nearby: dict[str, ManualExecutor]
) -> None:
    settings = HostSettings()
    executors.wind_up()
    assert not any(executor.winds_up for executor in hosted.values())
    executors.start()
    executors.renew(settings)
    executors.wind_up()
    assert all(executor.renewed_with is settings for executor in hosted.values())
    assert all(executor.winds_up for executor in hosted.values())
    assert (nearby["async"].renewed_with, nearby["async"].winds_up) == (None, False)
