"""The verdict of a load test: no failed request, no task lost, no p95 over its limit.

Every accepted task is noted, and after the load the service is asked for each until it is finished.
What is found goes into Locust's own report, as failures, and so into its exit status.
"""

from __future__ import annotations

import logging
import time
import tomllib
from argparse import Namespace
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.clients import HttpSession
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtests.errors import LoadTestError

log = logging.getLogger(__name__)

LIMITS: Final = Path(__file__).with_name("limits.toml")
LOST: Final = "task not finished after the load"
"""The name of the failures in the report."""

_FINISHED: Final = frozenset({"success", "failed"})
_READERS: Final = 8
_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Limits:
    """The limits in `limits.toml`."""

    settle_seconds: float
    p95_ms: Mapping[str, float]
    """By "METHOD name"; "default" is for all others."""

    @classmethod
    def load(cls, path: Path) -> Limits:
        """Read the file.

        Raises:
            LoadTestError: it has something else in it, or less.
        """
        content = tomllib.loads(path.read_text())
        try:
            limits = cls(**content)
            limits.p95_ms["default"]
        except (TypeError, KeyError) as error:
            raise LoadTestError(f"{path}: {error}") from None
        return limits

    def p95_of(self, request: str) -> float:
        """The limit of one request."""
        return self.p95_ms.get(request, self.p95_ms["default"])


class Ledger:
    """The tasks that were accepted during this test, by this process."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()

    def clear(self, **_: Any) -> None:
        """Another test starts."""
        self.accepted.clear()


ledger: Final = Ledger()
"""Locust makes the users itself and hands them nothing, so this is where they note their tasks."""


def install() -> None:
    """Have Locust tell when a test begins and ends."""
    events.init_command_line_parser.add_listener(_add_arguments)
    events.test_start.add_listener(ledger.clear)
    events.test_stop.add_listener(_settle)
    events.quitting.add_listener(_judge)


def _add_arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--limits", default=str(LIMITS), help="TOML file with the limits of the p95 response times"
    )


def _limits(environment: Environment) -> Limits:
    options = environment.parsed_options
    assert isinstance(options, Namespace)
    return Limits.load(Path(options.limits))


# -- no task is lost -----------------------------------------------------------------------------


def _settle(environment: Environment, **_: Any) -> None:
    """Wait for the accepted tasks; each that does not finish becomes a failure in the report."""
    if isinstance(environment.runner, MasterRunner) or environment.host is None:
        return  # its workers know their tasks
    limits = _limits(environment)
    log.info("waiting for %d accepted tasks to finish", len(ledger.accepted))
    lost = _unfinished(environment, limits.settle_seconds)
    for task_id, last_seen in lost.items():
        environment.events.request.fire(
            request_type="GET",
            name=LOST,
            response_time=0,
            response_length=0,
            exception=LoadTestError(f"task {task_id}: {last_seen}"),
            context={},
        )
    if lost:
        log.error("%d of %d accepted tasks are lost", len(lost), len(ledger.accepted))
    else:
        log.info("all %d accepted tasks are finished", len(ledger.accepted))


def _unfinished(environment: Environment, patience_seconds: float) -> dict[str, str]:
    """Those that do not finish, with what was last seen of them."""
    # A session of its own, whose requests are in no statistics.
    with (
        HttpSession(environment.host, _Silent(), None) as session,
        ThreadPoolExecutor(_READERS) as readers,
    ):

        def look(task_id: str) -> tuple[str, str]:
            with session.get(f"/status/{task_id}", catch_response=True) as answer:
                status = answer.json().get("status") if answer.ok else None
            return task_id, status or f"answered {answer.status_code}: {answer.text}"

        waiting = dict.fromkeys(ledger.accepted, "")
        progress = time.monotonic()
        while waiting and time.monotonic() - progress < patience_seconds:
            seen: dict[str, str] = dict(readers.map(look, waiting))
            left = {task_id: state for task_id, state in seen.items() if state not in _FINISHED}
            if len(left) < len(waiting):
                progress = time.monotonic()
            waiting = left
            time.sleep(_PAUSE_SECONDS if waiting else 0)
    return waiting


class _Silent:
    """A request event without listeners."""

    def fire(self, **_: Any) -> None:
        pass


# -- no answer is too slow -------------------------------------------------------------------------


def _judge(environment: Environment, **_: Any) -> None:
    """The exit status: 1 if a request failed, a task was lost or a limit was exceeded."""
    if isinstance(environment.runner, WorkerRunner):
        return  # its master has all figures
    runner = environment.runner
    if runner is not None:
        # After Ctrl-C Locust ends the test only later, and with it the wait for accepted tasks.
        runner.stop()
    stats = environment.stats
    if not stats.total.num_requests and environment.web_ui is None:
        log.error("no request was made")
        environment.process_exit_code = 1
        return
    limits = _limits(environment)
    slow = False
    for entry in stats.entries.values():
        request = f"{entry.method} {entry.name}"
        p95, limit = entry.get_response_time_percentile(0.95), limits.p95_of(request)
        if p95 > limit:
            slow = True
            log.error("%s: p95 is %d ms, its limit %d ms", request, p95, limit)
    if slow or stats.total.num_failures or (runner is not None and runner.exceptions):
        environment.process_exit_code = 1
    log.info("verdict: %s", "failed" if environment.process_exit_code else "passed")
