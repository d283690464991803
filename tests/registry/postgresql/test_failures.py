"""Groups of errors that several processes count at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from afterwards.registry.postgresql import failures
from afterwards.registry.postgresql.registry import PostgresqlRegistry
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import Cancel, Errors, Retry
from tests.registry.peers import SERVICE, Peer, Processes, ask, make_task

pytestmark = [pytest.mark.machines, pytest.mark.processes]


@pytest.fixture
def registries(empty_database: str) -> Iterator[list[PostgresqlRegistry]]:
    registries = [PostgresqlRegistry(empty_database, SERVICE) for _ in range(2)]
    yield registries
    for registry in registries:
        registry.close()


def fail(peer: Peer, *errors: str, executor: str = "async") -> list[str]:
    failed = []
    for error in errors:
        claim = peer.run(make_task(executor=executor))
        peer.fail(claim, error=error)
        failed.append(claim.task_id)
    return failed


def groups(registry: Registry) -> list[tuple[str, int]]:
    return [(group.message, group.number) for group in ask(registry, Errors()).groups]


def test_what_fails_in_several_processes_at_once_is_in_its_group(
    registries: list[PostgresqlRegistry], processes: Processes
) -> None:
    failed: list[list[str]] = [[], []]

    # An executor for each, so that none gets what the other one waits for.
    executors = ("async", "thread")
    peers = [
        Peer(registry, processes.start(SERVICE), {executor: 1})
        for registry, executor in zip(registries, executors, strict=True)
    ]

    def work(place: int) -> None:
        errors = ("no 1", "other") if place else ("other", "no 1")
        failed[place] = fail(peers[place], *errors * 10, "no 2", executor=executors[place])

    for peer in peers:
        peer.join()
    threads = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert groups(registries[0]) == [("no #", 22), ("other", 20)]
    for task_id in failed[0]:
        ask(registries[1], Retry(task_id))
        ask(registries[1], Cancel(task_id))
    assert groups(registries[0]) == [("no #", 11), ("other", 10)]
    [group, _] = ask(registries[1], Errors()).groups
    assert sum(group.series) == 22
    assert set(group.sample_ids) <= set(failed[1])


def test_of_too_many_groups_the_rest_is_counted(
    registries: list[PostgresqlRegistry], processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST_GROUPS", 2)
    peer = Peer(registries[0], processes.start(SERVICE), {"async": 1})
    peer.join()
    ids = fail(peer, "a", "b", "c", "d", "a")

    assert groups(registries[1]) == [("a", 2), ("b", 1)]
    assert ask(registries[1], Errors()).ungrouped == 2
    # There is room again for what fails from now on.
    for task_id in ids[1:3]:
        ask(registries[1], Retry(task_id, run_at=4e9))
        ask(registries[1], Cancel(task_id))
    fail(peer, "e")
    assert dict(groups(registries[1])) == {"a": 2, "e": 1}
    assert ask(registries[1], Errors()).ungrouped == 1
