"""The recording servers as a run sees them: their addresses, and what they have been sent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

CHECKOUT: Final = Path(__file__).parents[2]
DOMAIN: Final = "shop.example"
"""The sender's; the ids of mails end with it."""


class Mail(NamedTuple):
    """A mail that was taken."""

    message_id: str
    recipients: tuple[str, ...]

    @property
    def task_id(self) -> str:
        """The task that its Message-ID names; empty: it names none."""
        name, at, domain = self.message_id.strip("<>").partition("@")
        return name if at and domain == DOMAIN else ""


class Request(NamedTuple):
    """A request that has come."""

    path: str
    headers: Mapping[str, str]
    """Their names are in lower case."""
    body: str
    status: int
    """The answer; `recording.SILENT`: none was given."""
    received_at: float = 0.0
    """The wall clock's time."""

    @property
    def was_taken(self) -> bool:
        """True if the receiver has said so, or would have, had its answer arrived."""
        return 200 <= self.status < 300

    @property
    def task_id(self) -> str:
        """The task that its Idempotency-Key names; empty: there is none."""
        return self.headers.get("idempotency-key", "").strip('"')

    @property
    def attempt(self) -> int:
        """The attempt that has sent it."""
        return int(self.headers.get("afterwards-attempt", "0"))


@dataclass
class Recorder:
    """One of the servers."""

    port: int
    file: Path
    _read: int = 0

    def __post_init__(self) -> None:
        self._open: set[int] = set()

    def open_ports(self) -> set[int]:
        """The ports of the clients whose latest mail or request is not answered yet."""
        with self.file.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in map(json.loads, whole.splitlines()):
            if line["word"] == "begin":
                self._open.add(line["port"])
            elif line["word"] == "end":
                self._open.discard(line["port"])
        return set(self._open)

    def lines(self, word: str) -> Iterator[dict[str, Any]]:
        """The lines of one kind, in the order in which they came."""
        for line in map(json.loads, self.file.read_text().splitlines()):
            if line["word"] == word:
                yield line


@dataclass
class Recorders:
    """Both of them."""

    mail: Recorder
    http: Recorder

    @property
    def url(self) -> str:
        """The server of HTTP, without a path."""
        return f"http://127.0.0.1:{self.http.port}"

    def mails(self) -> list[Mail]:
        """The mails that were taken."""
        return [Mail(line["id"], tuple(line["to"])) for line in self.mail.lines("mail")]

    def requests(self, path: str) -> list[Request]:
        """The requests for a path, or for those below it."""
        found = (
            Request(line["path"], line["headers"], line["body"], line["status"], line["wall"])
            for line in self.http.lines("request")
        )
        return [one for one in found if one.path == path or one.path.startswith(f"{path}/")]

    def open_ports(self) -> set[int]:
        """As for each of them."""
        return self.mail.open_ports() | self.http.open_ports()

    def settings(self) -> dict[str, str]:
        """The settings of a service that sends to them."""
        return {
            "smtp_url": f"smtp://127.0.0.1:{self.mail.port}",
            "mail_from": f"no-reply@{DOMAIN}",
            "http_hosts": "127.0.0.1",
            "http_ports": str(self.http.port),
            "http_networks": "127.0.0.0/8",
        }

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator[Self]:
        """Both, each in a process of its own, which ends with the context."""
        with _server("mail", directory) as mail, _server("http", directory) as http:
            yield cls(mail, http)


@contextmanager
def _server(kind: str, directory: Path) -> Iterator[Recorder]:
    file = directory / f"recorded-{kind}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.recording", kind, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
        # A strike at the service's group, or Ctrl-C, is not for it.
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        file.touch()
        yield Recorder(port, file)
        assert process.poll() is None, f"the recording {kind} server has ended"
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()
