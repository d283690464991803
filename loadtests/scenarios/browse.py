"""Browse: a person submits something, now and then, and watches until it is done."""

from __future__ import annotations

import random

from locust import between, task

from loadtests.scenarios.user import SUBMISSIONS, TaskUser


class Browse(TaskUser):
    """Submits all types in turn."""

    weight = 5
    wait_time = between(0.5, 2)

    @task
    def submit_and_watch(self) -> None:
        """One task of a random type, until it is finished."""
        task_id = self.submit(random.choice(list(SUBMISSIONS)))  # noqa: S311 - no secret
        if task_id is not None:
            self.expect("browse: task succeeds", self.wait_finished(task_id), status="success")
