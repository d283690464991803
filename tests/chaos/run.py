"""One run: a service, clients, a killer, and what has become of every acknowledged task."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from afterwards.errors import AfterwardsError
from tests.chaos.clients import Clients
from tests.chaos.findings import Findings, executed_again
from tests.chaos.fleet import Fleet
from tests.chaos.killer import Killer
from tests.reliability.conftest import FaultyService

SETTINGS: Final = {
    "notification_delay_seconds": "0.3",
    "report_delay_seconds": "0.2",
    "file_delay_seconds": "0.3",
    "email_delay_seconds": "0.6",
    "grace_seconds": "1",
    "lease_seconds": "5",
    "log_level": "warning",
}
SETTLE_SECONDS: Final = 60.0
"""The time in which tasks have to end after the last strike."""

END_SECONDS: Final = 40.0


def run(directory: Path, seconds: float, seed: int, per_second: float) -> Findings:
    """Strike for so many seconds, let the service settle, and look at everything."""
    service = FaultyService(directory, **SETTINGS)
    service.start()
    clients = Clients(service.url, directory / "acknowledged", seed, per_second)
    killer = Killer(service, Fleet(service), random.Random(seed))
    clients.start()
    over = threading.Event()
    timer = threading.Timer(seconds, over.set)
    timer.start()
    try:
        _until(service.trace_file.exists, 10)
        killer.run(over)
    finally:
        timer.cancel()
        clients.end()
    (directory / "kills").write_text("".join(f"{kill}\n" for kill in killer.kills))
    findings = _settle(service, clients, killer)
    findings.judge(service.output_dir)
    _check_sums(service, findings)
    _check_end(service, findings)
    return findings


def _settle(service: FaultyService, clients: Clients, killer: Killer) -> Findings:
    acknowledged = clients.acknowledged()
    task_ids = [each.task_id for each in acknowledged]
    findings = Findings(acknowledged, {}, killer.kills, [], clients.answers)

    def all_final() -> bool:
        try:
            findings.tasks = dict(zip(task_ids, service.tasks(task_ids), strict=True))
        except (OSError, EOFError, AssertionError, AfterwardsError):
            return False  # the last strike hit the registry
        return not findings.lost

    _until(all_final, SETTLE_SECONDS)
    findings.again = executed_again(service.trace(), killer.kills)
    return findings


def _check_sums(service: FaultyService, findings: Findings) -> None:
    """Each submitted task is in some state."""
    sums = {"afterwards_tasks_submitted_total": 0.0, "afterwards_tasks": 0.0}

    def add_up() -> bool:
        answer = service.get("/metrics")
        for name in sums:
            sums[name] = sum(
                sample.value
                for family in text_string_to_metric_families(answer.text)
                for sample in family.samples
                if sample.name == name
            )
        submitted, stored = sums.values()
        return answer.is_success and submitted == stored >= len(findings.acknowledged)

    if not _until(add_up, 10):
        findings.failures.append(f"the counts do not add up: {sums}")


def _check_end(service: FaultyService, findings: Findings) -> None:
    """It stops as asked, and nobody is left behind, from this life or an earlier one."""
    if (status := service.stop()) != 0:
        findings.failures.append(f"the service ended with status {status}")
    if not _until(lambda: not service.processes(), END_SECONDS):
        findings.failures.append(f"orphans: {service.processes()}")
    # Logged ones only: a child whose parent is killed while it starts prints one of its own.
    if '"exception":' in service.log_text():
        findings.failures.append("there is an exception in the log")


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
