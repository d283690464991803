"""A backup taken from a service under load holds what was acknowledged, and can be gone on with."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.integration.conftest import AFTERWARDS, Service, wait_for
from tests.reliability.load import SteadyLoad

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
NewService = Callable[..., Service]


def run(command: str, file: Path, service: Service) -> subprocess.CompletedProcess[str]:
    arguments = [str(AFTERWARDS), command, str(file), "--data-dir", str(service.data_dir)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)


def test_a_backup_under_load_has_every_acknowledged_task_and_the_unfinished_are_finished(
    new_service: NewService, tmp_path: Path
) -> None:
    # Nothing submitted before the backup is finished in it: the restored service has all to do.
    service = new_service(notification_delay_seconds="60")
    service.start()
    file = tmp_path / "backup.sqlite3"
    with SteadyLoad(service.url, per_second=200) as load:
        wait_for(lambda: len(load.accepted) > 100, "tasks submitted")
        before = list(load.accepted)
        backup = run("backup", file, service)
        assert backup.returncode == 0, backup.stderr
        made = len(load.accepted)
        wait_for(lambda: len(load.accepted) > made + 20, "tasks submitted after the backup")
    assert load.failures == []
    service.kill_everything()

    restored = new_service(notification_delay_seconds="0")
    answer = run("restore", file, restored)
    assert answer.returncode == 0, answer.stderr
    restored.start()

    for task_id in before:
        assert restored.finished(task_id)["status"] == "success"
    assert restored.stop() == 0


def test_a_restore_under_a_running_service_is_refused_and_disturbs_nothing(
    new_service: NewService, tmp_path: Path
) -> None:
    service = new_service()
    service.start()
    file = tmp_path / "backup.sqlite3"
    assert run("backup", file, service).returncode == 0
    task_id = service.submit("/notify/", NOTIFICATION)

    refused = run("restore", file, service)

    assert refused.returncode == 1
    assert refused.stderr.startswith(f"afterwards: the data directory {service.data_dir} is in use")
    assert refused.stderr.count("\n") == 1
    assert service.finished(task_id)["status"] == "success"
    assert service.stop() == 0
    assert run("restore", file, service).returncode == 0
    service.start()
    assert service.get(f"/status/{task_id}").status_code == 404
    assert service.stop() == 0
