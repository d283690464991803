"""The Compose deployment, brought up under a name of its own on free ports."""

from __future__ import annotations

import itertools
import json
import math
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.deploy.files import COMPOSE, DEPLOY

UNFINISHED = frozenset({"pending", "processing"})
_NUMBERS = itertools.count()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Stack:
    """The containers that `docker compose` makes of the committed file; nothing of them stays.

    Args:
        directory: a copy of the committed file's directory, if files are to be written there.
    """

    def __init__(self, directory: Path = DEPLOY) -> None:
        self.directory = directory
        self.project = f"afterwards-test-{os.getpid()}-{next(_NUMBERS)}"
        ports = {name: str(free_port()) for name in ("API_PORT", "PROMETHEUS_PORT", "LOCUST_PORT")}
        left_out = ("AFTERWARDS_", "COMPOSE_")
        kept = {n: v for n, v in os.environ.items() if not n.startswith(left_out)}
        self._environment = {**kept, **ports}
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{ports['API_PORT']}", timeout=10)
        self._prometheus = httpx.Client(
            base_url=f"http://127.0.0.1:{ports['PROMETHEUS_PORT']}", timeout=10
        )

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker compose`; one's own `deploy/.env` decides nothing."""
        return self._docker(
            "compose",
            "--file",
            str(self.directory / COMPOSE.name),
            "--project-name",
            self.project,
            "--env-file",
            os.devnull,
            *arguments,
            check=check,
        )

    def follow(self, line: str) -> str:
        """Run a line of a page in the directory, as its reader does; its output."""
        variables = {"COMPOSE_PROJECT_NAME": self.project, "COMPOSE_ENV_FILES": os.devnull}
        run = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.directory,
            env={**self._environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{line}:\n{run.stdout}{run.stderr}"
        return run.stdout

    def _docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        run = subprocess.run(
            ["docker", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0 or not check, f"{' '.join(arguments)}:\n{run.stdout}{run.stderr}"
        return run

    def up(self) -> None:
        """Build, start and wait until all are healthy. Grafana is nothing that could be asked."""
        self.compose("up", "--build", "--detach", "--wait", "--wait-timeout", "300", *RUNNING)

    def down(self) -> None:
        """Remove all of it."""
        self.api.close()
        self._prometheus.close()
        profile = ("--profile", "load")
        self.compose(*profile, "down", "--volumes", "--rmi", "local", "--remove-orphans", "-t", "5")

    def logs(self) -> str:
        """The output of the containers."""
        return self.compose("logs", "--no-color", check=False).stdout

    def inspect(self, service: str = "api") -> dict[str, Any]:
        """The engine's description of a service's container."""
        container = self.compose("ps", "--all", "--quiet", service).stdout.strip()
        found: list[dict[str, Any]] = json.loads(self._docker("inspect", container).stdout)
        return found[0]

    def added_bytes(self) -> int:
        """The size that the image adds to its base."""
        image = self.inspect()["Image"]
        history = self._docker(
            "history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", image
        )
        added = 0
        for layer in history.stdout.splitlines():
            size, _, made_by = layer.partition(" ")
            added += int(size)
            # The first instruction of the last stage.
            if "org.opencontainers.image.title=Afterwards" in made_by:
                return added
        raise AssertionError(history.stdout)

    def inside(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the service's container."""
        return self.compose("exec", "-T", "api", "sh", "-c", command, check=False)

    # -- the service ---------------------------------------------------------------------------

    def submit(self, path: str, body: Any) -> str:
        """POST a task and return its id."""
        answer = self.api.post(path, json=body)
        assert answer.status_code in (200, 202), answer.text
        task_id: str = answer.json()["task_id"]
        return task_id

    def status(self, task_id: str) -> str | None:
        """A task's final status; None if it has none yet, or nobody can say."""
        try:
            answer = self.api.get(f"/status/{task_id}")
        except httpx.TransportError:
            return None
        if answer.status_code == 503:
            return None
        assert answer.status_code == 200, answer.text
        status: str = answer.json()["status"]
        return None if status in UNFINISHED else status

    def is_ready(self) -> bool:
        """True if tasks would be accepted."""
        try:
            return self.api.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    # -- Prometheus ----------------------------------------------------------------------------

    def query(self, expr: str) -> list[float]:
        """The values of an instant query that are numbers."""
        answer = self._prometheus.get("/api/v1/query", params={"query": expr}).json()
        assert answer["status"] == "success", f"{expr}: {answer}"
        values = [float(series["value"][1]) for series in answer["data"]["result"]]
        return [value for value in values if not math.isnan(value)]

    def firing(self) -> set[str]:
        """The alerts that fire."""
        alerts = self._prometheus.get("/api/v1/alerts").json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


RUNNING = ("api", "prometheus")
