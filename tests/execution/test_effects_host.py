"""The host of effects, and what it shows of its secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwards.effects.settings import EffectSettings, HttpSettings
from afterwards.execution.attempt import prepare
from afterwards.execution.effects_host import NAME, effects_module
from afterwards.execution.lifespans import ON_LOOP
from afterwards.outgoing.reach import Reach
from afterwards.task_types.base import Environment
from afterwards_executors import EXECUTORS
from afterwards_executors.base import End, HostedExecutor, Outcome, Work
from afterwards_executors.hosts.settings import HostSettings

PROXY = "http://user:hidden@proxy.example:3128"
SETTINGS = EffectSettings(http=HttpSettings(reach=Reach(hosts=("*",)), proxy=PROXY))


async def look() -> Outcome:
    """Say what an attempt of this process would have."""
    module = effects_module()
    assert module is not None
    effects = await ON_LOOP.resources(module, NAME)
    proc = Path("/proc/self")
    shown = (proc / "environ").read_bytes() + (proc / "cmdline").read_bytes()
    found = {
        "client": type(effects.http).__name__,
        "is_same": effects is await ON_LOOP.resources(module, NAME),
        "knows": effects.settings.http.proxy == PROXY,
        "shows": b"hidden" in shown or "hidden" in repr(effects),
        "pid": os.getpid(),
    }
    return Outcome(End.SUCCEEDED, value=json.dumps(found).encode())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostedExecutor]:
    environment = Environment(tmp_path, 0, 0, 0, 0, 1_000)
    settings = HostSettings(prepare=(prepare, (environment, SETTINGS)))
    assert "hidden" not in repr(settings)
    executor = EXECUTORS["async"](2, settings)
    executor.start()
    yield executor
    executor.shutdown(5.0)


@pytest.mark.processes
def test_attempts_share_the_clients_that_the_settings_ask_for(host: HostedExecutor) -> None:
    outcome = host.submit(Work(look, (), 20.0)).result(30.0)
    assert outcome.error is None
    found = json.loads(outcome.value or b"")
    assert found.pop("pid") != os.getpid()
    assert found == {"client": "Outgoing", "is_same": True, "knows": True, "shows": False}


def test_no_other_process_has_effects() -> None:
    assert effects_module() is None


@pytest.mark.processes
def test_a_worker_loads_no_client() -> None:
    program = (
        "import sys, afterwards.web_worker; "
        "print([name for name in ('aiosmtplib', 'httpcore', 'afterwards.effects.effects') "
        "if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program]) == b"[]\n"
