"""A backup taken from a service under load holds what was acknowledged, and can be gone on with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from afterwards.registry.journal.file import journal_path
from afterwards.registry.journal.journal import SqliteJournal
from tests.integration.conftest import AFTERWARDS, Service, wait_for
from tests.registry.bench import keys_of
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
    keys = keys_of("k1").text
    service = new_service(notification_delay_seconds="60", encryption_keys=keys)
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
    assert NOTIFICATION["email"].encode() not in file.read_bytes()

    restored = new_service(notification_delay_seconds="0", encryption_keys=keys)
    answer = run("restore", file, restored)
    assert answer.returncode == 0, answer.stderr
    assert "these keys in AFTERWARDS_ENCRYPTION_KEYS: k1" in answer.stdout
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


def test_a_service_without_the_key_of_its_journal_says_which_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    SqliteJournal(journal_path(tmp_path / "data"), keys=keys_of("k1")).close()
    keys = tmp_path / "keys"
    keys.write_text(keys_of("k2").text)
    environment = {**os.environ, "AFTERWARDS_ENCRYPTION_KEYS_FILE": str(keys)}
    command = [str(AFTERWARDS), "serve", "--bind", "127.0.0.1:0", "--data-dir", "data"]

    start = subprocess.run(
        command,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert start.returncode == 1
    said = [line for line in start.stderr.splitlines() if line.startswith("afterwards: ")]
    assert len(said) == 1
    assert "it is encrypted with a key that is not given: k1; add it to AFTERWARDS_ENCR" in said[0]
