"""A client that submits at a steady rate, over connections that it keeps."""

from __future__ import annotations

import threading
import time
from typing import Self

import httpx

CLIENTS = 4
NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}


class SteadyLoad:
    """Submits notifications until told to end; never repeats a request.

    `accepted` has the ids of all tasks that were accepted, `failures` every other answer.
    """

    def __init__(self, url: str, per_second: float) -> None:
        self.accepted: list[str] = []
        self.failures: list[str] = []
        self._url = url
        self._interval_seconds = CLIENTS / per_second
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._submit) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _submit(self) -> None:
        due = time.monotonic()
        with httpx.Client(base_url=self._url, timeout=10) as client:
            while not self._over.wait(due - time.monotonic()):
                due += self._interval_seconds
                try:
                    answer = client.post("/notify/", json=NOTIFICATION)
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code == 202:
                    self.accepted.append(answer.json()["task_id"])
                else:
                    self.failures.append(f"{answer.status_code} {answer.text}")
