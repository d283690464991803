"""Read-heavy: a dashboard that shows what has become of tasks, and submits hardly any."""

from __future__ import annotations

import random
from collections import deque

from locust import between, task

from loadtests.scenarios.user import TaskUser


class ReadHeavy(TaskUser):
    """Reads what it has submitted."""

    weight = 2
    wait_time = between(0.02, 0.1)

    def on_start(self) -> None:
        """Something to read."""
        self.known: deque[str] = deque(maxlen=100)
        self.submit_one()

    @task(1)
    def submit_one(self) -> None:
        """One more to read."""
        task_id = self.submit("/notify/")
        if task_id is not None:
            self.known.append(task_id)

    @task(60)
    def read(self) -> None:
        """The status of one of them."""
        if self.known:
            self.status(random.choice(self.known))  # noqa: S311 - no secret

    @task(20)
    def read_as_email(self) -> None:
        """The same in the words of the other status route."""
        if self.known:
            task_id = random.choice(self.known)  # noqa: S311 - no secret
            self.client.get(f"/task/{task_id}/status", name="/task/{task_id}/status")

    @task(1)
    def scrape(self) -> None:
        """Read the metrics as Prometheus does."""
        self.client.get("/metrics")
