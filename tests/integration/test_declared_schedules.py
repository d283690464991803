"""Schedules in a task module of a real service: they come, change and go with its code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from afterwards.errors import NotReloaded
from afterwards.server.reload import reload
from afterwards_client import Client, Conflict, NewSchedule
from tests.integration.conftest import AFTERWARDS, wait_for
from tests.integration.own_types import OwnTypesService

MODULE = """\
from pydantic import BaseModel
from afterwards import Schedule, TaskType

class Tick(BaseModel):
    count: int = 1

async def tick(payload: Tick, context):
    return {"count": payload.count}

TICK = TaskType("tick", Tick, tick)
"""
EVERY_SECOND = 'FAST = Schedule("fast", TICK, {"count": 5}, every=1, labels={"team": "a"})\n'
NIGHTLY = 'NIGHTLY = Schedule("nightly", TICK, cron="0 3 * * *", timezone="Europe/Berlin")\n'
TIME = 1_700_000_000


class Shop(OwnTypesService):
    """A service whose schedules are deployed now and then."""

    def write(self, *schedules: str) -> None:
        """Replace the module in one step."""
        new = self.directory / "code.new"
        new.write_text(MODULE + "".join(schedules))
        os.utime(new, (TIME, TIME))
        new.replace(self.directory / "shop_schedules.py")

    def deploy(self, *schedules: str) -> str:
        """The module with these; returns what `afterwards reload` says."""
        self.write(*schedules)
        return reload(self.data_dir)

    def schedules(self) -> dict[str, dict[str, Any]]:
        """All schedules by name."""
        found = self.get("/schedules?limit=500").json()["schedules"]
        return {one["name"]: one for one in found}

    def await_schedule(self, name: str, **members: Any) -> dict[str, Any]:
        """A schedule, once it has these members."""

        def found() -> dict[str, Any] | None:
            one = self.schedules().get(name)
            return one if one is not None and members.items() <= one.items() else None

        return wait_for(found, f"the schedule {name} with {members}")

    def lines(self, part: str) -> list[dict[str, Any]]:
        """The lines of the log about an event."""
        lines = self.log_file.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if part in line["event"]]

    def ticks(self) -> int:
        """The number of tasks that schedules have made."""
        answer = self.get("/tasks/count?type=tick")
        assert answer.status_code in (200, 503), answer.text
        count: int = answer.json()["count"] if answer.status_code == 200 else 0
        return count


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Shop]:
    service = Shop(tmp_path, task_modules="shop_schedules")
    service.directory = tmp_path / "shop"
    service.directory.mkdir()
    yield service
    service.kill_everything()


def test_schedules_come_and_go_with_the_code(service: Shop) -> None:
    service.write(NIGHTLY, EVERY_SECOND)
    service.start()
    nightly = service.await_schedule("nightly", module="shop_schedules", gone=False)
    assert (nightly["cron"], nightly["timezone"]) == ("0 3 * * *", "Europe/Berlin")
    fast = service.await_schedule("fast", labels={"team": "a"})
    assert fast["every_seconds"] == 1
    # Two workers declare them, and one of the two has made them.
    [line] = wait_for(lambda: service.lines("are put in place"), "the log tells")
    assert line["made"] == ["fast", "nightly"]
    wait_for(service.ticks, "a task of a declared schedule")
    assert service.client.post("/schedules/nightly/pause").status_code == 200

    said = service.deploy(NIGHTLY.replace("0 3", "30 4"))

    assert "1 task type, 1 schedule; no longer declared, so they make no tasks: fast" in said
    changed = service.await_schedule("nightly", cron="30 4 * * *")
    assert (changed["paused"], changed["created_at"]) == (True, nightly["created_at"])
    assert service.await_schedule("fast", gone=True)["next_runs"] == []
    [line] = wait_for(lambda: service.lines("by no task module any more"), "the log tells")
    assert line["schedules"] == ["fast"]

    # A start tells of it, too.
    assert service.stop() == 0
    service.start()
    wait_for(lambda: len(service.lines("by no task module any more")) == 2, "the log tells again")
    assert service.client.delete("/schedules/fast").status_code == 204
    assert list(service.schedules()) == ["nightly"]
    assert service.stop() == 0


def test_the_code_alone_changes_and_deletes_what_it_declares(service: Shop) -> None:
    service.write(NIGHTLY)
    service.start()
    service.await_schedule("nightly")
    with Client(service.url) as client:
        for refused in (
            lambda: client.put_schedule("nightly", NewSchedule("tick", every=60)),
            lambda: client.delete_schedule("nightly"),
        ):
            with pytest.raises(Conflict, match="declared in the task module shop_schedules"):
                refused()
        shown = client.schedule("nightly")
        assert (shown.module, shown.gone) == ("shop_schedules", False)
        assert client.pause_schedule("nightly").paused
        assert client.run_schedule("nightly").type == "tick"
    assert service.stop() == 0


@pytest.mark.timeout(180)
def test_each_due_time_has_its_task_once_whatever_is_killed_while_code_is_deployed(
    service: Shop,
) -> None:
    service.write(EVERY_SECOND, NIGHTLY)
    service.start()
    first = service.await_schedule("fast")

    def more(number: int) -> None:
        wanted = service.ticks() + number
        wait_for(lambda: service.ticks() >= wanted, f"{number} more ticks")

    more(1)
    for victim in (service.registry_pid, lambda: service.worker_pids()[0]):
        killing = threading.Thread(target=os.kill, args=(victim(), signal.SIGKILL))
        killing.start()
        service.deploy(EVERY_SECOND)
        killing.join()
        service.await_schedule("nightly", gone=True)
        more(1)
        service.deploy(EVERY_SECOND, NIGHTLY)
        service.await_schedule("nightly", gone=False)
    service.write(EVERY_SECOND)
    service.kill_everything()
    service.start()
    service.await_schedule("nightly", gone=True)
    more(1)

    assert service.client.post("/schedules/fast/pause").status_code == 200
    last = service.await_schedule("fast", paused=True)
    assert last["created_at"] == first["created_at"]
    begun, ended = (datetime.fromisoformat(last[name]) for name in ("created_at", "last_due"))
    # One for each second since then, and a due time never has two.
    assert service.ticks() == round((ended - begun).total_seconds())
    assert service.stop() == 0


def test_a_reload_with_a_mistake_in_a_schedule_changes_nothing(service: Shop) -> None:
    service.write(NIGHTLY)
    service.start()
    before = service.await_schedule("nightly")
    with pytest.raises(NotReloaded, match=r"Input should be a valid integer.*line 12\)"):
        service.deploy(NIGHTLY, 'BAD = Schedule("bad", TICK, {"count": "x"}, every=60)\n')
    assert service.schedules() == {"nightly": before}
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ('BAD = Schedule("bad", TICK, cron="0 25 * * *")', "the cron expression '0 25 * * *'"),
        ('BAD = Schedule("bad", "nowhere", every=60)', "there is no task type 'nowhere'"),
        ('BAD = Schedule("bad", "http", {"url": "x"}, every=60)', "no task type 'http'"),
        ('BAD = Schedule("bad", "report", {}, every=60)', "its payload: name: Field required"),
    ],
)
def test_a_mistake_in_a_schedule_ends_the_start_with_its_file_and_line(
    service: Shop, declared: str, problem: str
) -> None:
    service.write(declared)
    ended = subprocess.run(
        [AFTERWARDS, "serve"],
        env=service._environment,
        cwd=service.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    [line] = ended.stderr.strip().splitlines()
    assert line.startswith("afterwards: AFTERWARDS_TASK_MODULES: shop_schedules: ")
    assert problem in line
    assert line.endswith(f"({service.directory}/shop_schedules.py, line 11)")
