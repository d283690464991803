"""A receiver of webhooks: a web server that keeps what it is sent, and answers as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from standardwebhooks import Webhook


class Received(NamedTuple):
    """One request."""

    path: str
    headers: Mapping[str, str]
    """Their names are in lower case."""
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """The event, once the library of the standard has verified it."""
        return Webhook(secret).verify(self.body, dict(self.headers))


Answer = Callable[[Received], tuple[int, Mapping[str, str]]]


class Receiver:
    """Answers each request with `status`, or by `answer`."""

    def __init__(self) -> None:
        self.url = ""
        self._changed = threading.Condition()
        self.reset()

    def reset(self) -> None:
        """Forget what has come, and answer 204."""
        self.status = 204
        self.answer: Answer = lambda _: (self.status, {})
        self.received: list[Received] = []

    def keep(self, request: Received) -> tuple[int, Mapping[str, str]]:
        with self._changed:
            self.received.append(request)
            self._changed.notify_all()
        return self.answer(request)

    def wait_for(self, number: int, seconds: float = 30) -> list[Received]:
        """The first requests, as soon as there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= number, seconds), (
                f"{len(self.received)} of {number} requests have come"
            )
            return self.received[:number]


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """A receiver at a port of 127.0.0.1; 0: any free one."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, fields = receiver.keep(Received(self.path, headers, body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", port), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/finished"
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
