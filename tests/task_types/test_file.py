from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from afterwards.task_types.base import Environment, PermanentError, TaskContext, TransientError
from afterwards.task_types.file import (
    FILE,
    MAX_INDENTED_CHARACTERS,
    FilePayload,
    save_json,
)
from afterwards_executors.retry import Starved

CONTENT: dict[str, Any] = {"user": "jöhn", "numbers": [1, 2.5, -0.0, 10**20], "deep": {"": None}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_the_result_tells_where_the_file_is(
    make_context: Callable[..., TaskContext], environment: Environment
) -> None:
    result: Any = await FILE.run(FilePayload(content=CONTENT), make_context())  # type: ignore[misc] # a coroutine's
    path = environment.output_dir / "the-task.json"
    assert result == {"message": "File saved", "path": str(path)}
    assert json.loads(path.read_bytes()) == CONTENT


def test_a_file_saved_twice_is_there_once(
    make_context: Callable[..., TaskContext], environment: Environment
) -> None:
    save_json({"old": "x" * 1_000}, make_context(attempt=1))
    path = save_json(CONTENT, make_context(attempt=2))
    assert json.loads(path.read_bytes()) == CONTENT
    assert list(environment.output_dir.iterdir()) == [path]


@pytest.mark.parametrize(("number", "lines"), [(10, 14), (MAX_INDENTED_CHARACTERS, 1)])
def test_a_small_file_is_indented_and_a_large_one_is_one_line(
    make_context: Callable[..., TaskContext], number: int, lines: int
) -> None:
    content = {"numbers": [1] * number}

    text = save_json(content, make_context()).read_text()

    assert json.loads(text) == content
    assert len(text.splitlines()) == lines


def test_a_link_that_somebody_has_put_there_is_not_written_through(
    make_context: Callable[..., TaskContext], environment: Environment, tmp_path: Path
) -> None:
    environment.output_dir.mkdir()
    victim = tmp_path / "victim"
    for planted in (".the-task.1.tmp", "the-task.json"):
        (environment.output_dir / planted).symlink_to(victim)
    path = save_json(CONTENT, make_context(attempt=1))
    assert not path.is_symlink()
    assert not victim.exists()


def test_what_a_killed_attempt_left_is_cleaned_up(
    make_context: Callable[..., TaskContext], environment: Environment
) -> None:
    environment.output_dir.mkdir()
    (environment.output_dir / ".the-task.1.tmp").write_text('{"half')
    bystander = environment.output_dir / ".another-task.1.tmp"
    bystander.write_text("{")
    path = save_json(CONTENT, make_context(attempt=3))
    assert set(environment.output_dir.iterdir()) == {path, bystander}


@pytest.mark.parametrize("in_the_way", ["outputs", "outputs/the-task.json"])
def test_a_place_that_cannot_be_written_fails_for_good_and_only_the_log_says_where_it_is(
    make_context: Callable[..., TaskContext], tmp_path: Path, in_the_way: str
) -> None:
    obstacle = tmp_path / in_the_way
    if obstacle.name == "outputs":
        obstacle.write_text("a file")
    else:
        obstacle.mkdir(parents=True)
    with capture_logs() as lines, pytest.raises(PermanentError) as caught:
        save_json(CONTENT, make_context())
    assert str(caught.value).startswith("Cannot write the-task.json: ")
    assert str(tmp_path) not in str(caught.value)
    assert [line["path"] for line in lines] == [str(tmp_path / "outputs/the-task.json")]


def test_a_full_disk_is_worth_another_attempt_and_leaves_nothing(
    make_context: Callable[..., TaskContext],
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TransientError, match=r"the-task\.json: No space left on device"):
        save_json(CONTENT, make_context())
    assert not list(environment.output_dir.iterdir())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN])
@pytest.mark.parametrize("step", ["mkdir", "open", "replace"])
def test_what_runs_out_at_any_step_is_not_the_task_s_fault(
    make_context: Callable[..., TaskContext],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    number: int,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, step, refuse)
    with pytest.raises(Starved, match=re.escape(f"the-task.json: {os.strerror(number)}")):
        save_json(CONTENT, make_context())


@pytest.mark.anyio
async def test_what_fills_the_loop_s_own_threads_does_not_delay_a_file(
    make_context: Callable[..., TaskContext],
) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    is_over = threading.Event()
    filler = asyncio.create_task(asyncio.to_thread(is_over.wait))
    await asyncio.sleep(0)  # it takes its place first
    try:
        async with asyncio.timeout(20):
            await FILE.run(FilePayload(content=CONTENT), make_context())  # type: ignore[misc] # a coroutine's
    finally:
        is_over.set()
        await filler


def test_the_content_is_on_disk_before_it_has_its_name(
    make_context: Callable[..., TaskContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def traced_fsync(descriptor: int) -> None:
        steps.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def traced_replace(path: Path, target: Path) -> Path:
        steps.append(f"rename to {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(Path, "replace", traced_replace)
    save_json(CONTENT, make_context())
    assert steps == ["sync .the-task.1.tmp", "rename to the-task.json", "sync outputs"]
