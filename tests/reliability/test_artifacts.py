"""Files of tasks, and the death of those who write or remove them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import wait_for
from tests.integration.own_types import OwnTypesService
from tests.integration.press import CONTENT, KINDS, SIZE, files, pressing, submitted


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnTypesService]:
    with pressing(tmp_path_factory.mktemp("press")) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_is_killed_while_a_file_is_written_leaves_nothing_of_it(
    service: OwnTypesService, tmp_path: Path, kind: str
) -> None:
    gate = tmp_path / "worker"
    task_id = submitted(service, kind, size=SIZE, gate=str(gate))
    worker = int(wait_for(lambda: gate.read_text() if gate.exists() else "", "it is being written"))
    assert worker in service.worker_pids()
    assert files(service, task_id) == ["1/.2.part", "1/attempt.txt"]
    os.kill(worker, signal.SIGKILL)

    assert service.finished(task_id)["status"] == "success"
    wait_for(lambda: files(service, task_id) == ["2/attempt.txt", "2/page.pdf"], "no leftovers")
    assert service.get(f"/tasks/{task_id}/artifacts/attempt.txt").text == "2"
    assert service.get(f"/tasks/{task_id}/artifacts/page.pdf").content == CONTENT


def test_files_of_deleted_tasks_that_a_crash_has_left_go_after_it(
    service: OwnTypesService,
) -> None:
    tasks = [submitted(service, "thread", size=256) for _ in range(3)]
    tasks.append(service.submit("/file/", {"content": {}}))
    for task_id in tasks:
        service.finished(task_id)
    # As if its disk was not mounted: nothing can be removed now.
    away = service.output_dir.with_name("away")
    service.output_dir.rename(away)
    for task_id in tasks:
        assert service.client.delete(f"/tasks/{task_id}").status_code == 204
    service.kill_everything()
    away.rename(service.output_dir)

    def left() -> list[Path]:
        return [path for one in tasks for path in service.output_dir.glob(f"*{one}*")]

    assert len(left()) == len(tasks)
    service.start()
    wait_for(lambda: not left(), "their files are gone")
