"""The general routes over two web workers and a journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import httpx

from tests.integration.conftest import Service, wait_for

NOTE = {"type": "notification", "payload": {"email": "a@example.com", "message": "x"}}


def at_once(count: int, ask: Callable[[], httpx.Response]) -> list[Any]:
    """The answers to the same request, sent by so many threads at the same moment."""
    start = threading.Barrier(count)
    answers: list[httpx.Response] = []

    def one() -> None:
        start.wait()
        answers.append(ask())

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [202] * count
    replayed = ["idempotent-replayed" in answer.headers for answer in answers]
    assert replayed.count(False) == 1
    return [answer.json() for answer in answers]


def submitted(service: Service) -> int:
    number: int = service.get("/stats").json()["submitted"]
    return number


def test_a_task_goes_its_way_and_its_document_tells_of_it(service: Service) -> None:
    answer = service.post("/tasks?wait=30", NOTE)
    assert (answer.status_code, answer.json()["status"]) == (200, "success")
    document = service.get(str(answer.url.join(answer.headers["location"]))).json()
    assert document["result"] == {"message": "Notification sent"}
    [attempt] = document["history"]
    assert (attempt["outcome"], attempt["attempt"]) == ("success", 1)
    # The other surfaces know it, too.
    assert service.get(f"/status/{document['id']}").json()["status"] == "success"


def test_a_failure_shows_its_attempts_and_succeeds_by_itself(service: Service) -> None:
    payload = {"email": "flaky@simulator.example", "message": "x"}
    answer = service.post("/tasks?wait=30", {**NOTE, "payload": payload})
    assert answer.json()["status"] == "success"
    history = service.get(str(answer.url.join(answer.headers["location"]))).json()["history"]
    assert [attempt["outcome"] for attempt in history] == ["failure", "success"]
    assert history[0]["error"]


def test_of_the_same_submission_at_the_same_moment_one_is_accepted(service: Service) -> None:
    for round_ in range(5):
        before = submitted(service)
        headers = {"Idempotency-Key": f"one-{round_}"}
        answers = at_once(6, partial(service.post, "/tasks", NOTE, headers))
        assert len({answer["id"] for answer in answers}) == 1
        assert submitted(service) == before + 1


def test_of_the_same_batch_at_the_same_moment_one_is_accepted_whole(service: Service) -> None:
    body = {"tasks": [NOTE] * 40}
    for round_ in range(5):
        before = submitted(service)
        headers = {"Idempotency-Key": f"many-{round_}"}
        answers = at_once(6, partial(service.post, "/tasks/batch", body, headers))
        orders = {tuple(task["id"] for task in answer["tasks"]) for answer in answers}
        assert len(orders) == 1
        assert len(orders.pop()) == 40
        assert submitted(service) == before + 40


def test_walking_the_pages_meets_each_old_task_once_while_others_come_and_finish(
    service: Service,
) -> None:
    batch = service.post("/tasks/batch", {"tasks": [NOTE] * 300}).json()["tasks"]
    old = {task["id"] for task in batch}
    over = threading.Event()

    def keep_adding() -> None:
        while not over.is_set():
            service.post("/tasks/batch", {"tasks": [NOTE] * 20})

    adding = threading.Thread(target=keep_adding)
    adding.start()
    try:
        for _ in range(3):
            seen = walk(service, "/tasks?limit=17&type=notification")
            assert len(seen) == len(set(seen))
            assert old <= set(seen)
    finally:
        over.set()
        adding.join()


def walk(service: Service, path: str) -> Sequence[str]:
    """The ids on all pages from here on."""
    seen: list[str] = []
    while path:
        answer = service.get(path)
        seen += (task["id"] for task in answer.json()["tasks"])
        more = "link" in answer.headers
        path = str(answer.url.join(answer.links["next"]["url"])) if more else ""
    return seen


def test_a_bulk_retry_retries_each_failure_once(service: Service) -> None:
    payload = {"email": "bounce@simulator.example", "message": "x"}
    tasks = [{**NOTE, "payload": payload}] * 250
    ids = [task["id"] for task in service.post("/tasks/batch", {"tasks": tasks}).json()["tasks"]]

    def failed() -> bool:
        listed = service.get("/tasks?status=failed&limit=500").json()["tasks"]
        return {task["id"] for task in listed} >= set(ids)

    wait_for(failed, "all failed")
    answer = service.post("/tasks/retry", {"created_after": first_of(service, ids)}).json()
    assert (answer["matched"], answer["retried"], answer["more"]) == (250, 250, False)
    wait_for(failed, "all failed again")
    for task_id in (ids[0], ids[-1]):
        assert service.get(f"/tasks/{task_id}").json()["retries"] == 1


def first_of(service: Service, ids: Sequence[str]) -> str:
    created: str = service.get(f"/tasks/{ids[0]}").json()["created_at"]
    return created


def test_a_paused_type_waits_whichever_worker_is_asked_and_beyond_a_restart(
    new_service: Callable[..., Service],
) -> None:
    service = new_service()
    service.start()
    assert service.post("/task-types/notification/pause").json()["paused"] is True
    task_id = service.post("/tasks", NOTE).json()["id"]
    service.stop()
    service.start()
    for _ in range(8):
        assert service.get("/task-types/notification").json()["paused"] is True
    assert service.get(f"/tasks/{task_id}").json()["status"] == "pending"
    service.post("/task-types/notification/resume")
    assert service.get(f"/tasks/{task_id}?wait=30").json()["status"] == "success"
    service.stop()


def test_a_task_that_runs_is_cancelled_by_whichever_worker_is_asked(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(notification_delay_seconds="600", report_delay_seconds="600")
    service.start()
    report = {"type": "report", "payload": {"name": "Sales", "details": {}}}
    for body in (NOTE, report, NOTE, report):
        task_id = service.post("/tasks", body).json()["id"]

        def runs(path: str = f"/tasks/{task_id}") -> bool:
            status: str = service.get(path).json()["status"]
            return status == "processing"

        wait_for(runs, "it runs")
        answer = service.post(f"/tasks/{task_id}/cancel").json()
        assert (answer["outcome"], answer["task"]["status"]) == ("stopped", "cancelled")
    service.stop()
