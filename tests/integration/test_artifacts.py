"""Files of tasks in a real service: over all executors, downloads, deletion."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.conftest import wait_for
from tests.integration.own_types import OwnTypesService
from tests.integration.press import CONTENT, KINDS, SIZE, files, pressing, submitted


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnTypesService]:
    with pressing(tmp_path_factory.mktemp("press")) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_keeps_its_files_whatever_runs_it(service: OwnTypesService, kind: str) -> None:
    task_id = submitted(service, kind, size=SIZE)
    assert service.finished(task_id)["status"] == "success"
    listed = service.get(f"/tasks/{task_id}").json()["artifacts"]
    assert [(one["name"], one["size"]) for one in listed] == [
        ("attempt.txt", 1),
        ("page.pdf", SIZE),
    ]
    answer = service.get(f"/tasks/{task_id}/artifacts/page.pdf")
    assert answer.content == CONTENT
    assert answer.headers["etag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert files(service, task_id) == ["1/attempt.txt", "1/page.pdf"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_attempt_leaves_no_file(service: OwnTypesService, kind: str) -> None:
    failed = submitted(service, kind, fails=True)
    too_large = submitted(service, kind, size=3 * SIZE)
    assert service.finished(failed)["status"] == "failed"
    assert "AFTERWARDS_MAX_ARTIFACT_BYTES" in service.finished(too_large)["error"]
    folders = [service.output_dir / task_id for task_id in (failed, too_large)]
    wait_for(lambda: not any(folder.exists() for folder in folders), "no files")
    assert service.get(f"/tasks/{failed}").json()["artifacts"] == []


def test_a_download_that_broke_off_goes_on(service: OwnTypesService) -> None:
    task_id = submitted(service, "thread", size=SIZE)
    service.finished(task_id)
    path = f"/tasks/{task_id}/artifacts/page.pdf"
    with service.client.stream("GET", path) as answer:
        first = next(answer.iter_raw(100_000))
        etag = answer.headers["etag"]
    headers = {"Range": f"bytes={len(first)}-", "If-Range": etag}
    rest = service.client.get(path, headers=headers)
    assert rest.status_code == 206
    assert first + rest.content == CONTENT
    parts = service.client.get(path, headers={"Range": "bytes=0-9,-10"})
    assert parts.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert CONTENT[:10] in parts.content
    head = service.client.head(path)
    assert (head.headers["content-length"], head.content) == (str(SIZE), b"")


def test_clients_that_do_not_read_have_others_wait_for_nothing(service: OwnTypesService) -> None:
    task_id = submitted(service, "thread", size=SIZE)
    service.finished(task_id)
    path = f"/tasks/{task_id}/artifacts/page.pdf"
    idle = [service.client.stream("GET", path) for _ in range(8)]
    answers = [one.__enter__() for one in idle]
    assert {answer.status_code for answer in answers} == {200}
    assert service.get(path).content == CONTENT
    for one in idle:
        one.__exit__(None, None, None)


def test_a_file_task_s_file_is_an_artifact(service: OwnTypesService) -> None:
    task_id = service.submit("/file/", {"content": {"user": "johndoe"}})
    document = service.finished(task_id)
    path = service.output_dir / f"{task_id}.json"
    assert document["result"] == {"message": "File saved", "path": str(path)}
    [artifact] = service.get(f"/tasks/{task_id}").json()["artifacts"]
    assert artifact["name"] == path.name
    answer = service.get(f"/tasks/{task_id}/artifacts/{path.name}")
    assert answer.json() == {"user": "johndoe"}
    assert answer.content == path.read_bytes()


def test_a_report_is_a_csv_file_when_asked_for(service: OwnTypesService) -> None:
    report = {"name": "Sales", "details": {"month": "June"}, "format": "csv"}
    answer = service.post("/tasks?wait=20", {"type": "report", "payload": report})
    assert answer.json()["result"] == {"message": "Report generated"}
    path = f"/tasks/{answer.json()['id']}/artifacts/report.csv"
    assert service.get(path).text == "detail,value\r\nmonth,June\r\n"
    # As the seeds have it: their route knows no format.
    task_id = service.submit("/report/", report)
    assert service.finished(task_id)["result"] == {"message": "Report generated"}
    assert service.get(f"/tasks/{task_id}").json()["artifacts"] == []


def test_files_are_deleted_with_their_tasks(service: OwnTypesService) -> None:
    pressed = submitted(service, "thread", size=256)
    saved = service.submit("/file/", {"content": {}})
    for task_id in (pressed, saved):
        service.finished(task_id)
        assert service.client.delete(f"/tasks/{task_id}").status_code == 204
    wait_for(lambda: not list(service.output_dir.glob(f"*{pressed}*")), "the folder is gone")
    wait_for(lambda: not list(service.output_dir.glob(f"*{saved}*")), "the file is gone")


def test_retention_deletes_files_too(service: OwnTypesService) -> None:
    task_id = submitted(service, "thread", size=256)
    service.finished(task_id)
    assert files(service, task_id)
    service.stop()
    service.set(retention_hours="0")
    service.start()
    wait_for(lambda: not (service.output_dir / task_id).exists(), "its files are gone", 90)
    answer: httpx.Response = service.get(f"/tasks/{task_id}/artifacts/page.pdf")
    assert answer.status_code in (404, 410)
