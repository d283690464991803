"""The three APIs of the original descriptions, through real HTTP."""

from __future__ import annotations

import json
import threading
from uuid import UUID

import pytest

from tests.integration.conftest import Service

SUBMISSIONS = {
    "notification": ("/notify/", {"email": "johndoe@example.com", "message": "Received."}),
    "report": ("/report/", {"name": "Sales", "details": {"month": "June", "region": "Asia"}}),
    "file": ("/file/", {"content": {"user": "johndoe", "activity": "export"}}),
}
RESULTS = {
    "notification": {"message": "Notification sent"},
    "report": {"message": "Report generated"},
}
EMAIL = {"email": "user@example.com", "subject": "Hello", "body": "Test email"}


@pytest.mark.parametrize("kind", SUBMISSIONS)
@pytest.mark.parametrize("slash", ["/", ""])
def test_each_kind_of_task_is_accepted_done_and_shown(
    service: Service, kind: str, slash: str
) -> None:
    path, body = SUBMISSIONS[kind]
    answer = service.post(path.rstrip("/") + slash, body)
    assert answer.status_code == 202
    document = answer.json()
    assert document == {"task_id": str(UUID(document["task_id"])), "status": "started"}
    assert answer.url.join(answer.headers["location"]).path == f"/status/{document['task_id']}"

    status = service.finished(document["task_id"])
    assert set(status) == {"id", "type", "status", "result", "error", "timestamp", "retries"}
    assert (status["type"], status["status"], status["error"]) == (kind, "success", None)
    assert status["retries"] == 0
    if kind in RESULTS:
        assert status["result"] == RESULTS[kind]


def test_a_file_task_writes_its_content(service: Service) -> None:
    content = {"text": "žluťoučký \U0001f40e", "nested": [{"a": None}, 1.5, -7, True]}
    task_id = service.submit("/file/", {"content": content})
    result = service.finished(task_id)["result"]
    written = service.output_dir / f"{task_id}.json"
    assert result == {"message": "File saved", "path": str(written)}
    assert json.loads(written.read_text()) == content


def test_an_email_goes_from_pending_to_completed(service: Service) -> None:
    answer = service.post("/send-email", EMAIL)
    assert (answer.status_code, answer.json()["status"]) == (200, "started")
    task_id = answer.json()["task_id"]
    service.finished(task_id)
    assert service.get(f"/task/{task_id}/status").json() == {
        "task_id": task_id,
        "status": "completed",
        "result": {"message": "Email sent successfully"},
        "error": None,
    }


def test_the_notification_without_a_body_is_scheduled(service: Service) -> None:
    answer = service.post("/api/notifications/notify")
    assert (answer.status_code, answer.json()) == (
        200,
        {"ok": True, "message": "Notification scheduled in background"},
    )
    task_id = answer.headers["location"].rpartition("/")[2]
    assert service.finished(task_id)["status"] == "success"


@pytest.mark.parametrize("task_id", ["abc-123", str(UUID(int=7)), "0", "%00", "x" * 300])
def test_unknown_ids_are_not_found_on_every_route(service: Service, task_id: str) -> None:
    for answer in (
        service.get(f"/status/{task_id}"),
        service.get(f"/task/{task_id}/status"),
        service.post(f"/retry-task/{task_id}"),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (404, "Task not found")


def test_a_failed_task_can_be_retried_by_hand_and_a_finished_one_cannot(service: Service) -> None:
    body = {"email": "bounce@simulator.example", "message": "x"}
    task_id = service.submit("/notify/", body)
    failed = service.finished(task_id)
    assert (failed["status"], failed["result"]) == ("failed", None)
    assert "bounce@simulator.example" in failed["error"]

    answer = service.post(f"/retry-task/{task_id}")
    assert (answer.status_code, answer.json()) == (200, {"task_id": task_id, "status": "retried"})
    again = service.finished(task_id)
    assert (again["status"], again["retries"]) == ("failed", 1)

    done = service.submit(*SUBMISSIONS["notification"])
    service.finished(done)
    assert service.post(f"/retry-task/{done}").status_code == 400


def test_a_flaky_task_succeeds_by_itself(service: Service) -> None:
    body = {"email": "flaky@simulator.example", "message": "x"}
    task_id = service.submit("/notify/", body)
    status = service.finished(task_id)
    assert (status["status"], status["error"], status["retries"]) == ("success", None, 0)


def test_of_simultaneous_retries_of_one_failed_task_exactly_one_wins(service: Service) -> None:
    body = {"email": "bounce@simulator.example", "message": "x"}
    for _ in range(5):
        task_id = service.submit("/notify/", body)
        before = service.finished(task_id)["retries"]
        answers: list[int] = []
        start = threading.Barrier(4)

        def retry(
            task_id: str = task_id,
            start: threading.Barrier = start,
            answers: list[int] = answers,
        ) -> None:
            start.wait()
            answers.append(service.post(f"/retry-task/{task_id}").status_code)

        threads = [threading.Thread(target=retry) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A retry that comes after the first one's attempt has failed again is a retry of its own.
        after = service.finished(task_id)["retries"]
        assert answers.count(200) == after - before >= 1
        assert set(answers) <= {200, 400}
