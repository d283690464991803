"""Artifacts by HTTP: listed, whole, in parts, and never what they are not."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.access.principal import Principal
from afterwards.access.roles import Role
from afterwards.api import artifacts, file_answer
from afterwards.api.authorise import Gate
from afterwards.api.file_answer import content_disposition, in_reader
from afterwards.artifacts import Artifact, encoded
from afterwards.registry.protocol.requests import Succeeded
from tests.access.holders import holder, ring_of
from tests.api.general.conftest import Hand, shown, submitted

pytestmark = pytest.mark.anyio

CONTENT = b"month,region\r\nJune,Asia\r\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "Bericht für Ärzte.csv"
PATH = "Bericht%20f%C3%BCr%20%C3%84rzte.csv"


@pytest.fixture
def folder(app: FastAPI, tmp_path: Path) -> Path:
    app.state.output_dir = tmp_path
    return tmp_path


@pytest.fixture
async def task_id(api: httpx.AsyncClient, hand: Hand, folder: Path) -> str:
    """A task that has made two files."""
    task_id: str = (await submitted(api))["id"]
    claim = hand.claim(task_id)
    place = folder / task_id / "1"
    place.mkdir(parents=True)
    made = []
    for name, content in ((NAME, CONTENT), ("empty.bin", b"")):
        (place / name).write_bytes(content)
        made.append(Artifact(name, len(content), hashlib.sha256(content).hexdigest(), 1))
    hand.report(Succeeded(task_id, claim.attempt, b"{}", 0.1, artifacts=encoded(made)))
    return task_id


async def test_a_task_lists_its_artifacts_by_name(api: httpx.AsyncClient, task_id: str) -> None:
    listed = (await shown(api, task_id))["artifacts"]
    assert listed[0] == {
        "name": NAME,
        "size": len(CONTENT),
        "media_type": "text/csv; charset=utf-8",
        "sha256": DIGEST,
    }
    assert listed[1]["media_type"] == "application/octet-stream"
    page = (await api.get("/tasks")).json()["tasks"]
    assert page[0]["artifacts"] == listed


@pytest.mark.parametrize("end", ["", "/"])
async def test_the_list_links_to_each(api: httpx.AsyncClient, task_id: str, end: str) -> None:
    answer = await api.get(f"/tasks/{task_id}/artifacts{end}")
    found = answer.json()["artifacts"]
    assert [one["name"] for one in found] == [NAME, "empty.bin"]
    # As a client resolves it.
    assert (await api.get(str(answer.url.join(found[0]["url"])))).content == CONTENT


async def test_a_task_without_any_lists_none(api: httpx.AsyncClient) -> None:
    task_id = (await submitted(api))["id"]
    assert (await shown(api, task_id))["artifacts"] == []
    assert (await api.get(f"/tasks/{task_id}/artifacts")).json() == {"artifacts": []}


async def test_a_browser_saves_a_file_and_runs_nothing_of_it(
    api: httpx.AsyncClient, task_id: str
) -> None:
    answer = await api.get(f"/tasks/{task_id}/artifacts/{PATH}")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    headers = answer.headers
    assert headers["content-length"] == str(len(CONTENT))
    assert headers["content-type"] == "text/csv; charset=utf-8"
    assert headers["content-disposition"] == (
        'attachment; filename="Bericht f_r _rzte.csv"; '
        "filename*=UTF-8''Bericht%20f%C3%BCr%20%C3%84rzte.csv"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["etag"] == f'"{DIGEST}"'
    assert headers["accept-ranges"] == "bytes"


def test_a_plain_name_needs_no_other_form() -> None:
    assert content_disposition("report (2).csv") == 'attachment; filename="report (2).csv"'
    assert "filename*=UTF-8''50%25.csv" in content_disposition("50%.csv")


async def test_head_tells_the_same_without_the_content(
    api: httpx.AsyncClient, task_id: str
) -> None:
    path = f"/tasks/{task_id}/artifacts/{PATH}"
    whole = await api.get(path)
    head = await api.head(path, headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.content) == (200, b"")
    differing = {"x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in differing} == {
        k: v for k, v in whole.headers.items() if k not in differing
    }


async def test_a_range_is_a_part_of_it(api: httpx.AsyncClient, task_id: str) -> None:
    path = f"/tasks/{task_id}/artifacts/{PATH}"
    rest = await api.get(path, headers={"Range": "bytes=10-", "If-Range": f'"{DIGEST}"'})
    assert (rest.status_code, rest.content) == (206, CONTENT[10:])
    assert rest.headers["content-range"] == f"bytes 10-{len(CONTENT) - 1}/{len(CONTENT)}"
    for stale in ('"other"', f'W/"{DIGEST}"', "Sat, 28 Nov 2026 12:00:00 GMT"):
        whole = await api.get(path, headers={"Range": "bytes=10-", "If-Range": stale})
        assert (whole.status_code, whole.content) == (200, CONTENT)


async def test_several_ranges_come_as_parts(api: httpx.AsyncClient, task_id: str) -> None:
    answer = await api.get(f"/tasks/{task_id}/artifacts/{PATH}", headers={"Range": "bytes=0-4,-2"})
    assert answer.status_code == 206
    boundary = answer.headers["content-type"].removeprefix("multipart/byteranges; boundary=")
    head = "--{}\r\nContent-Type: text/csv; charset=utf-8\r\nContent-Range: bytes {}\r\n\r\n{}\r\n"
    size = len(CONTENT)
    expected = (
        head.format(boundary, f"0-4/{size}", "month")
        + head.format(boundary, f"{size - 2}-{size - 1}/{size}", "\r\n")
        + f"--{boundary}--\r\n"
    )
    assert answer.text == expected
    assert answer.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize(("name", "wanted"), [(PATH, "bytes=999-"), ("empty.bin", "bytes=0-")])
async def test_a_range_that_there_is_not_is_refused(
    api: httpx.AsyncClient, task_id: str, name: str, wanted: str
) -> None:
    answer = await api.get(f"/tasks/{task_id}/artifacts/{name}", headers={"Range": wanted})
    assert answer.status_code == 416
    assert answer.headers["content-type"] == "application/problem+json"
    size = 0 if name == "empty.bin" else len(CONTENT)
    assert answer.headers["content-range"] == f"bytes */{size}"


@pytest.mark.parametrize("known", ["*", f'"{DIGEST}"', f'"x", W/"{DIGEST}"'])
async def test_what_a_client_has_is_not_sent_again(
    api: httpx.AsyncClient, task_id: str, known: str
) -> None:
    answer = await api.get(f"/tasks/{task_id}/artifacts/{PATH}", headers={"If-None-Match": known})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == f'"{DIGEST}"'


async def test_an_empty_file_is_one(api: httpx.AsyncClient, task_id: str) -> None:
    answer = await api.get(f"/tasks/{task_id}/artifacts/empty.bin")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "0"


@pytest.mark.parametrize("name", ["other.csv", "..", "..%2F..%2Fetc%2Fpasswd", "%00", "1"])
async def test_a_name_that_is_not_listed_leads_nowhere(
    api: httpx.AsyncClient, task_id: str, name: str
) -> None:
    answer = await api.get(f"http://service/tasks/{task_id}/artifacts/{name}")
    assert answer.status_code in (404, 200 if name == ".." else 404)
    assert b"root:" not in answer.content


async def test_a_file_that_is_not_the_task_s_any_more_is_gone(
    api: httpx.AsyncClient, task_id: str, folder: Path
) -> None:
    path, secret = folder / task_id / "1" / NAME, folder / "secret"
    secret.write_bytes(b"x" * len(CONTENT))
    for put in (
        lambda: path.write_bytes(b"longer than it was when the task had made it"),
        lambda: path.symlink_to(secret),
        lambda: os.mkfifo(path),
        lambda: None,
    ):
        path.unlink()
        put()
        answer = await api.get(f"/tasks/{task_id}/artifacts/{PATH}")
        assert answer.status_code == 410
        assert "is not in the output directory any more" in answer.json()["detail"]


async def test_a_disk_that_does_not_answer_is_said(
    api: httpx.AsyncClient, task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(artifacts, "open_artifact", failing)
    answer = await api.get(f"/tasks/{task_id}/artifacts/{PATH}")
    assert answer.status_code == 503
    assert answer.json()["detail"].endswith("cannot be read: Input/output error")


async def test_a_deleted_task_has_none(api: httpx.AsyncClient, task_id: str) -> None:
    assert (await api.delete(f"/tasks/{task_id}")).status_code == 204
    for path in ("artifacts", f"artifacts/{PATH}"):
        assert (await api.get(f"/tasks/{task_id}/{path}")).status_code == 410


async def test_a_key_that_sees_no_payloads_sees_no_artifacts(
    api: httpx.AsyncClient, app: FastAPI, task_id: str
) -> None:
    blind = holder(Role.ADMIN, "blind", payloads=False)
    app.state.gate.renew(ring_of(blind))
    api.headers.update(blind.headers)
    document = await shown(api, task_id)
    assert (document["artifacts"], document["redacted"]) == ([], True)
    for path in ("artifacts", f"artifacts/{PATH}"):
        answer = await api.get(f"/tasks/{task_id}/{path}")
        assert answer.status_code == 403
        assert "need a key with `payloads`" in answer.json()["detail"]


async def test_a_download_that_has_begun_goes_on_when_its_key_ends(
    api: httpx.AsyncClient, app: FastAPI, task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate: Gate = app.state.gate
    reader = holder(Role.VIEWER, "reader")
    gate.renew(ring_of(reader))
    api.headers.update(reader.headers)
    reads: list[int] = []

    async def read_and_end_the_key(function: Any, *args: Any) -> Any:
        found = await in_reader(function, *args)
        if function is os.pread and not reads:
            gate.renew(ring_of())
            with gate.lapses.watched(Principal(reader.key, None)) as lapse:
                await lapse
        reads.append(1)
        return found

    monkeypatch.setattr(file_answer, "_CHUNK_BYTES", 8)
    monkeypatch.setattr(file_answer, "in_reader", read_and_end_the_key)
    answer = await api.get(f"/tasks/{task_id}/artifacts/{PATH}")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert len(reads) > 1
    assert (await api.get(f"/tasks/{task_id}/artifacts/{PATH}")).status_code == 401


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


async def test_no_descriptor_stays_open(api: httpx.AsyncClient, task_id: str) -> None:
    path = f"/tasks/{task_id}/artifacts/{PATH}"
    before = descriptors()
    for headers in ({}, {"Range": "bytes=99-"}, {"Range": "bytes=1-2"}, {"If-None-Match": "*"}):
        await api.get(path, headers=headers)
        await api.head(path, headers=headers)
    assert descriptors() == before
