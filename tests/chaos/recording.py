"""The servers of the effects: a process each, never struck, that writes down all that it is sent.

    python -m tests.chaos.recording mail|http FILE

It says its port on a line of its own, and goes on until its input ends. What it writes is on the
file before it answers, so an answer that does not arrive belongs to an effect that is there.
"""

from __future__ import annotations

import asyncio
import email
import json
import os
import random
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from aiosmtpd.smtp import SMTP, Envelope, Session

PAUSE_SECONDS: Final = 0.15
"""The longest pause before an effect is written down, and the longest one after it."""

_RECIPIENT_BUSY: Final = 10
_RECEIVER_BUSY: Final = 4
"""One in so many mails, and notices, is refused the first time."""

SILENT: Final = 0
"""In the place of a status: the connection is closed without an answer."""


class Record:
    """The file. Its lines are written by one process, each with one write."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._seen: set[str] = set()

    def write(self, word: str, **members: Any) -> None:
        """Add a line, on the clock that all processes of the machine share."""
        line = json.dumps({"word": word, "at": time.monotonic(), **members})
        os.write(self._file, f"{line}\n".encode())

    def is_first(self, name: str) -> bool:
        """True the first time that it is asked about a name."""
        if name in self._seen:
            return False
        self._seen.add(name)
        return True


def _chosen(name: str, one_in: int) -> bool:
    """True for one in so many names, and always the same ones."""
    return sha256(name.encode()).digest()[0] % one_in == 0


async def _pause() -> None:
    await asyncio.sleep(random.uniform(0, PAUSE_SECONDS))


class MailHandler:
    """Takes mails. One in `_RECIPIENT_BUSY` is taken the second time only."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd names it
        peer = session.peer[1] if session.peer else 0
        self._record.write("begin", port=peer)
        await _pause()
        assert isinstance(envelope.original_content, bytes)
        message = email.message_from_bytes(envelope.original_content)
        message_id = str(message["Message-ID"])
        if _chosen(message_id, _RECIPIENT_BUSY) and self._record.is_first(message_id):
            answer = "451 4.2.1 Too fast"
        else:
            recipients = [*envelope.rcpt_tos]
            self._record.write("mail", id=message_id, to=recipients)
            await _pause()
            answer = "250 2.0.0 Ok"
        self._record.write("end", port=peer)
        return answer


class HttpHandler:
    """Takes requests, and answers by their paths: `/calls/...`, `/hooks` and `/callbacks`."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        port = writer.get_extra_info("peername")[1]
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *fields = head.decode().split("\r\n")[:-2]
                headers = dict(_field(one) for one in fields)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self._record.write("begin", port=port)
                status = await self._take(first.split(" ")[1], headers, body)
                self._record.write("end", port=port)
                if status == SILENT:
                    break
                writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        writer.close()

    async def _take(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        await _pause()
        status = self._status(path, headers)
        content = {"path": path, "headers": headers, "body": body.decode(), "status": status}
        self._record.write("request", wall=time.time(), **content)
        await _pause()
        return status

    def _status(self, path: str, headers: Mapping[str, str]) -> int:
        """The first request about anything may be answered otherwise than those after it."""
        about = headers.get("webhook-id") or headers.get("idempotency-key", "")
        match path:
            case "/calls/busy" if self._record.is_first(about):
                return 503
            case "/calls/cut" if self._record.is_first(about):
                return SILENT
            case "/hooks" | "/callbacks" if _chosen(about, _RECEIVER_BUSY):
                return 500 if self._record.is_first(path + about) else 204
        return 200


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value


async def _serve(kind: str, record: Record) -> None:
    loop = asyncio.get_running_loop()
    server: asyncio.AbstractServer
    if kind == "mail":
        handler = MailHandler(record)
        server = await loop.create_server(
            lambda: SMTP(handler, hostname="mail.example", loop=loop, timeout=600), "127.0.0.1"
        )
    else:
        server = await asyncio.start_server(HttpHandler(record).serve, "127.0.0.1")
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # Its parent's end ends it, whatever has become of the parent.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], Record(Path(sys.argv[2]))))
