"""One run: a service, clients, a killer, and what has become of every acknowledged task."""

from __future__ import annotations

import base64
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from afterwards.errors import AfterwardsError
from tests.chaos.clients import Clients
from tests.chaos.evidence import Evidence, hurried, without_reason
from tests.chaos.findings import Findings, executed_again
from tests.chaos.fleet import Fleet
from tests.chaos.kept import check_kept, unlisted_files
from tests.chaos.killer import Killer
from tests.chaos.modules.shapes import VIOLATIONS
from tests.chaos.recorders import Recorders
from tests.chaos.sent import Sent, check_sent, summary
from tests.chaos.submissions import HOOKED
from tests.reliability.conftest import MODULES, FaultyService

SETTINGS: Final = {
    "notification_delay_seconds": "0.1",
    "report_delay_seconds": "0.2",
    "file_delay_seconds": "0.3",
    "smtp_connections": "8",
    "grace_seconds": "1",
    "lease_seconds": "5",
    "log_level": "warning",
}
CALLBACK_SECRET: Final = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SETTLE_SECONDS: Final = 60.0
"""The time after the last strike in which a task has to end: all of them, or one more. Tasks that
were lost too often with the service run one at a time."""

DELIVERIES_SECONDS: Final = 120.0
"""The same for deliveries, which do not wait for their time then."""

REMOVAL_SECONDS: Final = 90.0
"""The time in which the files of attempts that have not succeeded have to go."""

END_SECONDS: Final = 40.0


def run(directory: Path, seconds: float, seed: int, per_second: float) -> Findings:
    """Strike for so many seconds, let the service settle, and look at everything."""
    with Recorders.running(directory) as recorders:
        service = _service(directory, recorders)
        service.start()
        secret = _hook(service, recorders)
        log = directory / "acknowledged"
        clients = Clients(service.url, log, seed, per_second, recorders.url)
        killer = Killer(service, Fleet(service, recorders), random.Random(seed))
        try:
            _strike(service, clients, killer, seconds)
            (directory / "kills").write_text("".join(f"{kill}\n" for kill in killer.kills))
            findings = _settle(service, clients, killer)
            findings.judge(service.output_dir)
            _check_effects(service, recorders, findings, secret)
            _check_sums(service, findings)
            _check_end(service, findings)
        finally:
            # Whatever has gone wrong: no service outlives a run.
            service.kill_everything()
            service.client.close()
    return findings


def _service(directory: Path, recorders: Recorders) -> FaultyService:
    """A service that sends to the recording servers, and knows all types of the submissions."""
    service = FaultyService(
        directory,
        **SETTINGS,
        **recorders.settings(),
        task_modules="harmful,acting",
        webhook_secrets=CALLBACK_SECRET,
    )
    locks = directory / "locks"
    locks.mkdir()
    modules = f"{MODULES}:{Path(__file__).with_name('modules')}"
    service.set_plain(PYTHONPATH=modules, LOCKS=str(locks))
    return service


def _hook(service: FaultyService, recorders: Recorders) -> str:
    """Have the service tell the recording server of the tasks with a label; its secret."""
    body = {"url": f"{recorders.url}/hooks", "labels": HOOKED}
    answer = service.client.put("/webhooks/recorded", json=body)
    assert answer.status_code == 201, answer.text
    secret: str = answer.json()["secret"]
    return secret


def _strike(service: FaultyService, clients: Clients, killer: Killer, seconds: float) -> None:
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


def _settle(service: FaultyService, clients: Clients, killer: Killer) -> Findings:
    """Wait until all acknowledged tasks have ended, as long as some of them still do."""
    acknowledged = clients.acknowledged()
    task_ids = [each.task_id for each in acknowledged]
    findings = Findings(acknowledged, {}, killer.kills, [], clients.answers)

    def all_final() -> bool:
        try:
            findings.tasks = dict(zip(task_ids, service.tasks(task_ids), strict=True))
        except (OSError, EOFError, AssertionError, AfterwardsError):
            return False  # the last strike hit the registry
        return not findings.lost

    left = len(acknowledged)
    while not _until(all_final, SETTLE_SECONDS) and len(findings.lost) < left:
        left = len(findings.lost)
    findings.again = executed_again(service.trace(), killer.kills)
    return findings


def _check_effects(
    service: FaultyService, recorders: Recorders, findings: Findings, hook_secret: str
) -> None:
    """Every effect is there as often as the attempts that are known to have had it."""
    if not _until(lambda: not hurried(service), DELIVERIES_SECONDS):
        findings.failures.append(f"not all tasks have ended: {hurried(service)}")
    evidence = Evidence.of(service)
    sent = Sent.of(recorders)
    findings.failures += check_sent(
        sent,
        evidence,
        findings.acknowledged,
        hook_secret=hook_secret,
        callback_secret=CALLBACK_SECRET,
    )
    violations = service.directory / "locks" / VIOLATIONS
    findings.failures += check_kept(evidence, findings.acknowledged, service.output_dir, violations)
    findings.failures += without_reason(evidence, findings.kills)
    if not _until(lambda: not unlisted_files(evidence, service.output_dir), REMOVAL_SECONDS):
        left = unlisted_files(evidence, service.output_dir)
        findings.failures.append(f"files of no attempt that has succeeded: {left}")
    findings.effects = summary(sent, evidence)


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
