"""`make load` and `make load-ui`: start a service, have Locust use it, and judge.

Locust changes the sockets of its whole process, so it has one of its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from loadtests.errors import LoadTestError
from loadtests.servers import Service

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
_LOCUST: Final = Path(sys.executable).with_name("locust")
_PREFIX: Final = "AFTERWARDS_"
_SPAWN_SECONDS: Final = 5
"""All users are there after so long."""


def main() -> int:
    """Run what the command line says; the exit status is 0 if the service has passed."""
    arguments = _parser().parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="afterwards-load-") as directory:
            if arguments.ui:
                return _ui(Path(directory), arguments)
            return _headless(Path(directory), arguments)
    except LoadTestError as error:
        sys.stderr.write(f"load: {error}\n")
        return 1


def _headless(directory: Path, arguments: argparse.Namespace) -> int:
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    with _service(directory) as service:
        status = _locust(
            service,
            arguments,
            "--headless",
            "--only-summary",
            f"--run-time={arguments.seconds}s",
            f"--html={output / 'report.html'}",
            f"--csv={output / 'report'}",
        )
        # The same question again, from the other side: Locust knows only what was answered.
        counts = service.wait_finished(0)
    ended = counts.succeeded + counts.failed
    sys.stdout.write(f"{counts.submitted} tasks accepted, {ended} finished: report in {output}\n")
    if ended != counts.submitted:
        raise LoadTestError("tasks are missing")
    sys.stdout.write("load test failed\n" if status else "load test passed\n")
    return status


def _ui(directory: Path, arguments: argparse.Namespace) -> int:
    # A shell starts what it puts into the background without it, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with _service(directory) as service:
        sys.stdout.write(f"http://127.0.0.1:{arguments.port}; Ctrl-C ends it\n")
        sys.stdout.flush()
        try:
            return _locust(
                service, arguments, "--web-host=127.0.0.1", f"--web-port={arguments.port}"
            )
        except KeyboardInterrupt:
            return 0


def _service(directory: Path) -> Service:
    """With the settings of the shell, but an address and directories of its own."""
    own = ("bind", "data_dir", "output_dir")
    settings = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.startswith(_PREFIX)
    }
    return Service(directory, **{n: value for n, value in settings.items() if n not in own})


def _locust(service: Service, arguments: argparse.Namespace, *options: str) -> int:
    users: int = arguments.users
    command: Sequence[str] = [
        str(_LOCUST),
        f"--locustfile={LOCUSTFILE}",
        f"--host={service.url}",
        f"--users={users}",
        f"--spawn-rate={max(1, users // _SPAWN_SECONDS)}",
        *([f"--limits={arguments.limits}"] if arguments.limits else []),
        *options,
    ]
    return subprocess.run(command, check=False).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtests.load", description=__doc__)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=30, help="of load; the tasks end after it")
    parser.add_argument("--limits", type=Path, help="other limits than loadtests/limits.toml")
    parser.add_argument("--output", type=Path, default=Path("outputs/loadtests"))
    parser.add_argument("--ui", action="store_true", help="Locust's web page instead of a report")
    parser.add_argument("--port", type=int, default=8089, help="of the web page")
    return parser


if __name__ == "__main__":
    sys.exit(main())
