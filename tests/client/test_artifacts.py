"""Files of tasks: listed and downloaded, over connections that break, by both clients."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from afterwards_client import (
    Artifact,
    Gone,
    InvalidArgument,
    NotFound,
    UnexpectedAnswer,
)
from tests.client.conftest import Chunks, Handler
from tests.client.documents import ID, problem, succeeded

CONTENT = b"0123456789" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ETAG = f'"{DIGEST}"'
REPORT = {"name": "report ü.csv", "size": 1_000, "media_type": "text/csv", "sha256": DIGEST}
PATH = f"/below/tasks/{ID}/artifacts/report%20%C3%BC.csv"
BROKEN = httpx.ReadError("connection reset")


def listed(service: Handler, *documents: dict[str, Any]) -> None:
    service.answer(200, {"artifacts": documents or [REPORT]})


def sent(
    service: Handler,
    *chunks: bytes,
    at: int = 0,
    broken: bool = False,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Have the next answer send these bytes of it."""
    part = {"Content-Range": f"bytes {at}-999/1000"} if at else {}
    body = Chunks(chunks, BROKEN if broken else None)
    told = {"ETag": ETAG, **part, **(headers or {})}
    service.answers.append(httpx.Response(206 if at else 200, stream=body, headers=told))


def test_a_task_tells_of_its_artifacts(client: Any, service: Handler) -> None:
    listed(service)
    found = client.artifacts(ID)
    assert found == (Artifact("report ü.csv", 1_000, "text/csv", DIGEST),)
    service.answer(200, {**succeeded(), "artifacts": [REPORT]})
    assert client.run(ID).artifacts == found
    service.answer(200, succeeded())
    assert client.run(ID).artifacts == ()


def test_a_download_is_in_its_place_once_it_is_whole(
    client: Any, service: Handler, tmp_path: Path
) -> None:
    listed(service)
    sent(service, CONTENT[:300], CONTENT[300:])
    path = client.download(ID, "report ü.csv", tmp_path)
    assert path == tmp_path / "report ü.csv"
    assert path.read_bytes() == CONTENT
    assert [*tmp_path.iterdir()] == [path]
    request = service.requests[1]
    assert request.url.raw_path.decode() == PATH
    assert request.headers["accept-encoding"] == "identity"
    assert "range" not in request.headers


def test_a_broken_connection_is_made_again_and_goes_on(
    client: Any, service: Handler, tmp_path: Path
) -> None:
    listed(service)
    sent(service, CONTENT[:300], broken=True)
    service.answer(503, problem(503), **{"Retry-After": "0"})
    sent(service, CONTENT[300:], at=300)
    to = tmp_path / "here.csv"
    assert client.download(ID, "report ü.csv", to).read_bytes() == CONTENT
    assert service.requests[3].headers["range"] == "bytes=300-"
    assert service.requests[3].headers["if-range"] == ETAG


def test_a_later_call_goes_on_with_what_an_earlier_one_has_left(
    client: Any, service: Handler, tmp_path: Path
) -> None:
    listed(service)
    sent(service, CONTENT[:300], broken=True)
    service.answer(410, problem(410))
    with pytest.raises(Gone):
        client.download(ID, "report ü.csv", tmp_path)
    assert not (tmp_path / "report ü.csv").exists()
    listed(service)
    sent(service, CONTENT[300:], at=300)
    assert client.download(ID, "report ü.csv", tmp_path).read_bytes() == CONTENT


def test_a_proxy_that_sends_the_whole_is_put_up_with(
    client: Any, service: Handler, tmp_path: Path
) -> None:
    listed(service)
    sent(service, CONTENT[:300], broken=True)
    sent(service, CONTENT[:200], CONTENT[200:])
    assert client.download(ID, "report ü.csv", tmp_path).read_bytes() == CONTENT


def test_an_empty_file_is_downloaded(client: Any, service: Handler, tmp_path: Path) -> None:
    listed(service, {**REPORT, "size": 0, "sha256": hashlib.sha256(b"").hexdigest()})
    assert client.download(ID, "report ü.csv", tmp_path).read_bytes() == b""


def test_a_name_that_is_not_listed_is_not_found(
    client: Any, service: Handler, tmp_path: Path
) -> None:
    listed(service)
    with pytest.raises(NotFound, match=r"has no artifact 'other\.csv'"):
        client.download(ID, "other.csv", tmp_path)


@pytest.mark.parametrize(
    ("chunk", "headers"),
    [
        (b"x" * 1_000, {}),
        (b"x" * 1_001, {}),
        (CONTENT, {"ETag": '"other"'}),
        (CONTENT, {"Content-Range": "bytes 0-999/1000"}),
    ],
)
def test_other_bytes_than_are_listed_never_take_its_place(
    client: Any, service: Handler, tmp_path: Path, chunk: bytes, headers: dict[str, str]
) -> None:
    listed(service)
    sent(service, chunk, headers=headers)
    with pytest.raises(UnexpectedAnswer):
        client.download(ID, "report ü.csv", tmp_path)
    assert not (tmp_path / "report ü.csv").exists()


def test_a_name_leads_nowhere_else(client: Any, service: Handler, tmp_path: Path) -> None:
    listed(service, {**REPORT, "name": "../x"})
    with pytest.raises(InvalidArgument):
        client.download(ID, "../x", tmp_path)
    assert [*tmp_path.iterdir()] == []
