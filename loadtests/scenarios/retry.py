"""Retry: mail to addresses that fail, and the retry by hand."""

from __future__ import annotations

from locust import between, task

from loadtests.scenarios.user import TaskUser


class Retry(TaskUser):
    """Has bad luck with addresses, and does not give up."""

    weight = 2
    wait_time = between(0.5, 2)

    @task(2)
    def bounce_and_retry(self) -> None:
        """An address that fails for good: it fails, is retried by hand, and fails again."""
        task_id = self.submit("/notify/", _mail_to("bounce"))
        if task_id is None:
            return
        self.expect("retry: bounce fails", self.wait_finished(task_id), status="failed", retries=0)
        with self.client.post(
            f"/retry-task/{task_id}", name="/retry-task/{task_id}", catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"not retried: {answer.status_code} {answer.text}")
                return
        self.expect("retry: bounce fails", self.wait_finished(task_id), status="failed", retries=1)

    @task(1)
    def flaky(self) -> None:
        """An address that fails once: no retry by hand is needed."""
        task_id = self.submit("/notify/", _mail_to("flaky"))
        if task_id is not None:
            self.expect("retry: flaky succeeds", self.wait_finished(task_id), status="success")


def _mail_to(name: str) -> dict[str, str]:
    return {"email": f"{name}@simulator.example", "message": "Hello"}
