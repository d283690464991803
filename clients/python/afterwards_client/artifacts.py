"""The files that a task has made: a list of them, and their download.

A download goes to a file beside its target, which takes the target's place once it is whole. That
file is named after the digest that it will have, so that a later call goes on with it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

import httpx

from afterwards_client import calls
from afterwards_client.calls import Call
from afterwards_client.errors import InvalidArgument, UnexpectedAnswer, api_error, shortened
from afterwards_client.retries import RETRIED_STATUSES, Retries, retry_after_seconds
from afterwards_client.subscription import Following
from afterwards_client.tasks import Artifact, artifacts_of


def listing(task_id: str) -> Call[tuple[Artifact, ...]]:
    """List the artifacts of a task."""
    return Call("GET", f"{calls.task_path(task_id)}/artifacts", artifacts_of)


def named(found: Sequence[Artifact], task_id: str, name: str) -> Artifact:
    """The artifact of this name.

    Raises:
        NotFound: there is none.
    """
    for artifact in found:
        if artifact.name == name:
            return artifact
    detail = f"Task {shortened(task_id)} has no artifact {shortened(name)!r}"
    raise api_error(HTTPStatus.NOT_FOUND, {"title": "Not Found", "detail": detail})


class Download(Following[bytes]):
    """The way of an artifact's bytes, over as many connections as it takes.

    Args:
        at: so many bytes of it are there already.
    """

    def __init__(self, task_id: str, artifact: Artifact, at: int, retries: Retries) -> None:
        super().__init__(None, retries)
        self._artifact = artifact
        self._etag = f'"{artifact.sha256}"'
        name = calls.segment(artifact.name, "artifact's name")
        self._path = f"{calls.task_path(task_id)}/artifacts/{name}"
        self._at = at
        self._skip = 0
        """Bytes to come that are there already: some proxies send the whole, whatever is asked."""

    def call(self) -> Call[None]:
        # Not compressed on the way: ranges count the bytes of the file.
        headers = {"Accept-Encoding": "identity"}
        if self._at:
            headers |= {"Range": f"bytes={self._at}-", "If-Range": self._etag}
        return Call("GET", self._path, calls.no_content, headers=headers, stream=True)

    def opened(self, response: httpx.Response) -> bool:
        """True if its bytes follow.

        Raises:
            ApiError: there is no such artifact.
            UnexpectedAnswer: these are the bytes of something else.
        """
        self._url = str(response.url)
        self._asked = None
        if response.status_code in RETRIED_STATUSES:
            self._asked = retry_after_seconds(response)
            return False
        calls.check(response)
        is_part = response.status_code == HTTPStatus.PARTIAL_CONTENT
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {self._at}-")
        if response.headers.get("ETag") != self._etag or is_part != begins:
            raise UnexpectedAnswer(self._url, "not the artifact that the task lists")
        self._skip = 0 if is_part else self._at
        self.is_over = self._at == self._artifact.size
        return not self.is_over

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The bytes that were not there before."""
        self._patience.renew()
        skipped = min(self._skip, len(chunk))
        self._skip -= skipped
        new = chunk[skipped:]
        self._at += len(new)
        if self._at > self._artifact.size:
            raise UnexpectedAnswer(self._url, "more bytes than the task lists")
        self.is_over = self._at == self._artifact.size
        if new:
            yield new


class PartFile:
    """The file that a download is written to before it is whole.

    Args:
        to: the target, or the directory that it is to be in under its own name.

    Raises:
        InvalidArgument: its own name would lead elsewhere.
        OSError: it cannot be written.
    """

    def __init__(self, artifact: Artifact, to: str | os.PathLike[str]) -> None:
        self._artifact = artifact
        self.target = Path(to)
        if self.target.is_dir():
            if Path(artifact.name).name != artifact.name:
                raise InvalidArgument("artifact's name", "it is no name of a file; say one")
            self.target /= artifact.name
        self.path = self.target.with_name(f".{artifact.sha256[:32]}.part")
        self._file = self.path.open("ab")
        self.size = self._file.tell()
        if self.size > artifact.size:
            self._file.truncate(0)
            self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes at its end."""
        self._file.write(data)

    def close(self) -> None:
        """Leave what is there for a later call."""
        self._file.close()

    def finish(self, task_id: str) -> Path:
        """Have it take the target's place, once it is what the task lists.

        Raises:
            UnexpectedAnswer: it is something else; nothing of it stays.
        """
        self._file.close()
        with self.path.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        if digest != self._artifact.sha256:
            self.path.unlink()
            problem = "the bytes that came have another digest than the task lists"
            raise UnexpectedAnswer(f"{task_id}/{self._artifact.name}", problem)
        self.path.replace(self.target)
        return self.target
