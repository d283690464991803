"""Burst: a batch job submits many notifications without a pause, and looks later."""

from __future__ import annotations

from typing import Final

from locust import between, task

from loadtests.scenarios.user import TaskUser

BURST_TASKS: Final = 50


class Burst(TaskUser):
    """Submits many at once, then rests."""

    weight = 1
    wait_time = between(3, 6)

    @task
    def submit_many(self) -> None:
        """As fast as they are accepted; then watch the last, which is finished about last."""
        task_ids = [self.submit("/notify/") for _ in range(BURST_TASKS)]
        last = task_ids[-1]
        if last is not None:
            self.expect("burst: task succeeds", self.wait_finished(last), status="success")
