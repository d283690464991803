"""The ways a worker comes to its registry."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwards.lifecycle import TaskState
from afterwards.registry.process.access import Access, in_memory, of_service, own_or_joined
from afterwards.registry.process.lock import holder_of
from afterwards.registry.process.supervised import RegistryStartError
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import Add
from tests.registry.conftest import Hosted
from tests.registry.peers import ask, eventually, get, make_task

pytestmark = pytest.mark.processes


@pytest.fixture
def opened(hosted: Hosted) -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def own(hosted: Hosted, opened: contextlib.ExitStack) -> Access:
    access = own_or_joined(hosted.config())
    opened.callback(access.close)
    return access


def reached(hosted: Hosted, access: Access) -> Registry:
    """The registry from this thread, whichever process serves it now."""
    eventually(lambda: holder_of(hosted.data_dir), "somebody serves")

    def attempt() -> list[Registry]:
        assert access.guard is not None
        access.guard()
        try:
            return [access.connect()]
        except (OSError, EOFError):
            return []

    registry: Registry = eventually(attempt, "the registry answers")[0]
    return registry


def test_a_registry_in_memory_is_one_for_the_process(hosted: Hosted) -> None:
    access = in_memory(hosted.config())
    task = make_task()

    ask(access.connect(), Add(task))

    assert get(access.connect(), task.id).state is TaskState.PENDING
    assert access.guard is None
    access.close()


def test_workers_of_a_service_reach_the_registry_its_master_keeps(hosted: Hosted) -> None:
    process = hosted.start()

    access = of_service(process.endpoint)

    assert access.service == process.endpoint.service
    assert access.guard is None
    task = make_task()
    assert ask(access.connect(), Add(task)) is None
    access.close()
    assert process._is_running()


def test_the_first_comer_starts_a_registry_and_later_ones_join_it(
    hosted: Hosted, opened: contextlib.ExitStack
) -> None:
    first, second = own(hosted, opened), own(hosted, opened)

    task = make_task()
    ask(first.connect(), Add(task))

    assert second.service == first.service
    assert get(second.connect(), task.id).id == task.id


def test_a_missing_data_directory_is_made_private(
    hosted: Hosted, opened: contextlib.ExitStack
) -> None:
    hosted.data_dir = hosted.data_dir / "deeper" / "data"

    own(hosted, opened)

    assert hosted.data_dir.stat().st_mode & 0o777 == 0o700


def test_whoever_joined_and_leaves_takes_nothing_with_it(
    hosted: Hosted, opened: contextlib.ExitStack
) -> None:
    first, second = own(hosted, opened), own(hosted, opened)

    second.close()

    assert ask(first.connect(), Add(make_task())) is None
    holder = holder_of(hosted.data_dir)
    assert holder is not None
    assert Path(holder.endpoint.directory, "authkey").exists()


def test_a_later_comer_starts_the_registry_again_when_it_dies(
    hosted: Hosted, opened: contextlib.ExitStack
) -> None:
    first, second = own(hosted, opened), own(hosted, opened)
    task = make_task()
    ask(first.connect(), Add(task))
    before = holder_of(hosted.data_dir)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)

    def restarted() -> bool:
        assert second.guard is not None
        second.guard()
        holder = holder_of(hosted.data_dir)
        return holder is not None and holder.pid != before.pid

    eventually(restarted, "the registry is started again")

    for access in (first, second):
        assert get(reached(hosted, access), task.id).id == task.id
    # The one who had started the first registry leaves; the second is not its to stop.
    first.close()
    assert get(reached(hosted, second), task.id).id == task.id


def test_the_joined_go_on_when_the_first_comer_leaves_with_its_registry(
    hosted: Hosted, opened: contextlib.ExitStack
) -> None:
    first, second = own(hosted, opened), own(hosted, opened)
    task = make_task()
    ask(first.connect(), Add(task))

    first.close()
    assert holder_of(hosted.data_dir) is None
    assert second.guard is not None
    second.guard()

    assert get(reached(hosted, second), task.id).id == task.id


def test_a_registry_that_cannot_start_is_an_error(hosted: Hosted) -> None:
    (hosted.data_dir / "journal.sqlite3").write_bytes(b"notes " * 1000)

    with pytest.raises(RegistryStartError, match="cannot be used"):
        own_or_joined(hosted.config())
