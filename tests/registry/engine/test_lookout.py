"""Nothing is accepted into a file that has no name, and nothing that was is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterwards.errors import JournalUnavailable, RegistryUnavailable, TaskNotFound
from afterwards.lifecycle import TaskState
from afterwards.registry.engine.lookout import LOOK_SECONDS
from afterwards.registry.protocol.requests import Add, Get, Probe, Retry
from tests.registry.bench import Bench, SteppedRegistry
from tests.registry.peers import ask, counts, get, raised

SUFFIXES = ("", "-wal", "-shm")


@pytest.fixture
def registry(bench: Bench) -> SteppedRegistry:
    return bench.registry(journal=bench.journal())


def path_of(bench: Bench, suffix: str) -> Path:
    return bench.directory / f"journal.sqlite3{suffix}"


def away(path: Path) -> Path:
    return path.rename(path.with_name("elsewhere"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_idle_registry_notices_and_refuses_before_it_writes(
    bench: Bench, registry: SteppedRegistry, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = path_of(bench, suffix)
    elsewhere = away(path)
    bench.clock.turn(LOOK_SECONDS)
    registry.tick()

    said = "".join(capfd.readouterr())
    assert "a file of the journal was moved, replaced, removed or cut short" in said
    assert str(path) in said
    assert "todo" in said
    answer = ask(registry, Add(bench.task()))
    assert raised(answer) is JournalUnavailable
    assert str(bench.directory) not in str(answer)
    assert raised(ask(registry, Probe())) is JournalUnavailable
    assert counts(registry) == {}
    elsewhere.rename(path)


def test_a_task_whose_file_lost_its_name_just_then_is_not_said_to_be_accepted(
    bench: Bench, registry: SteppedRegistry
) -> None:
    task, never = bench.task(), bench.task()
    registry.tick()
    elsewhere = away(path_of(bench, ""))

    [call] = registry.together((None, [Add(task), Probe(), Get(task.id), Retry(never.id)]))

    assert [raised(answer) for answer in call.answers] == [
        RegistryUnavailable,
        JournalUnavailable,
        None,
        TaskNotFound,
    ]
    # It is in the file, and so it is in memory: the file may come back.
    assert get(registry, task.id).state is TaskState.PENDING
    elsewhere.rename(path_of(bench, ""))


def test_a_file_that_is_moved_back_is_written_to_again(
    bench: Bench, registry: SteppedRegistry
) -> None:
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    elsewhere = away(path_of(bench, ""))
    bench.clock.turn(LOOK_SECONDS)
    assert raised(peer.succeed(claim)) is JournalUnavailable
    assert get(registry, claim.task_id).state is TaskState.PROCESSING

    elsewhere.rename(path_of(bench, ""))
    bench.clock.turn(LOOK_SECONDS)

    assert peer.succeed(claim) is None
    assert ask(registry, Probe()) is None
    assert ask(registry, Add(bench.task())) is None
