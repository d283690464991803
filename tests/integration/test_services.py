"""The services of these tests leave no process behind, whatever becomes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import Service, started, wait_for


class Mute(Service):
    """Is never ready, and does not stop when asked."""

    command = ("sh", "-c", "trap '' TERM; echo trapped; while true; do sleep 0.1; done")

    def is_ready(self) -> bool:
        pytest.fail("it is not ready")


def test_one_that_does_not_become_ready_is_ended(tmp_path: Path) -> None:
    service = Mute(tmp_path)
    with pytest.raises(pytest.fail.Exception, match="it is not ready"):
        service.start()
    assert service.processes() == []


def test_one_that_does_not_stop_is_ended(tmp_path: Path) -> None:
    service = Mute(tmp_path)
    service.start(ready=False)
    wait_for(lambda: "trapped" in service.log_file.read_text(), "it listens to nothing")
    with pytest.raises(subprocess.TimeoutExpired):
        service.stop(seconds=0.1)
    assert service.processes() == []


def test_one_whose_test_fails_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), started(Service(tmp_path)) as service:
        raise ZeroDivisionError
    assert service.processes() == []
