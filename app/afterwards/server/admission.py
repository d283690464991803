"""A connection among others: it is let in, gives way to another, and its answers are counted."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from afterwards.server.connections import Client, Connections, plain
from afterwards.server.http_head import origin_form
from afterwards.server.http_protocol import BoundedHttpProtocol, is_busy

LARGE_BYTES: Final = 16 * 1024
"""Smaller bodies are not counted: the limit of connections bounds them."""

ROOM: Final = "afterwards.room"
"""The ASGI extension that an application asks before it begins an answer of known length.

It is a callable `(length, must) -> bool`: whether there is room for an answer of `length` bytes. If
so, or if the answer must be given anyway, it counts until its client has read it."""


class AdmittedHttpProtocol(BoundedHttpProtocol):
    """A bounded connection that shares a worker's room with all others.

    An application whose `state` has `always_answered`, a set of paths, gets requests for these even
    when there is no room for another connection.
    """

    def __init__(self, *args: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._all = connections
        self._owner: Client | None = None
        """None before the connection is made, and once it has given way or is lost."""
        self._is_on_trial = False
        self._bytes_taken = 0
        """The bytes of `Connections.take`: of a body that is being received, and of an answer that
        is being given, or was and is not read yet."""
        self._body_counted = 0
        """The counted bytes of the body at hand."""

    @property
    def _client(self) -> Client:
        assert self._owner is not None
        return self._owner

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # The flow is paused as soon as anything is left unsent, and goes on when nothing is.
        self.transport.set_write_buffer_limits(high=0)
        if self.client is not None:
            # Proxies are trusted by the address that people write, and the log shows that one.
            self.client = plain(self.client[0]), self.client[1]
        self._owner = self._all.client_of(self.client[0] if self.client else None)
        self._is_on_trial = not self._all.open(self, self._owner)

    def give_way(self) -> None:
        """Close, for another one's sake; what its client has not read by now is lost."""
        self._leave()
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def _leave(self) -> None:
        if self._owner is not None:
            owner, self._owner = self._owner, None
            self._forget_taken(owner)
            self._all.close(self, owner)

    def on_headers_complete(self) -> None:
        if self._owner is None:
            raise ValueError  # stops the parser: it has given way
        if self._is_on_trial and not self._is_let_in():
            limit = "This worker has no room for another connection"
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"{limit}; try again in a moment")
            raise ValueError
        super().on_headers_complete()
        self._body_counted = 0
        self._all.become_busy(self, self._client)

    def _is_let_in(self) -> bool:
        """True if a connection on trial may be answered; the trial ends if there is room by now."""
        if self._all.admit(self, self._client):
            self._is_on_trial = False
            return True
        always: frozenset[str] = getattr(
            getattr(self.config.app, "state", None), "always_answered", frozenset()
        )
        path = origin_form(self.url, self.headers).partition(b"?")[0]
        return path.decode("latin-1") in always

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        # What comes after the answer has begun is dropped.
        if self._body_bytes <= LARGE_BYTES or self._owner is None or self.cycle.response_started:
            return
        more = self._body_bytes - self._body_counted
        if not self._all.has_room(more, self._owner):
            limit = "This worker holds too much that is being sent to it"
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"{limit}; try again in a moment")
            raise ValueError  # stops the parser
        self._count(more, self._owner)
        self._body_counted = self._body_bytes

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self._is_on_trial:
            cycle.keep_alive = False
        cycle.scope["extensions"] = {ROOM: self._has_room_for}
        super()._start_asgi_task(cycle, app)

    def _has_room_for(self, length: int, must: bool) -> bool:
        if self._owner is None:
            return True  # nobody will read it
        if not self.flow.write_paused:
            self._forget_taken(self._owner)  # earlier answers: they have been read
        has_room = self._all.has_room(length, self._owner)
        if has_room or must:
            self._count(length, self._owner)
        return has_room

    def _count(self, length: int, owner: Client) -> None:
        self._all.take(length, owner)
        self._bytes_taken += length

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._owner is None:
            return
        if not is_busy(self) and not self._is_on_trial:
            self._all.become_idle(self, self._owner)
        if self._bytes_taken:
            # After what was written has been handed to the transport, and may have gone at once.
            self.loop.call_soon(self._give_back)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._give_back()

    def _give_back(self) -> None:
        if self._owner is not None and not self.flow.write_paused and not is_busy(self):
            self._forget_taken(self._owner)

    def _forget_taken(self, owner: Client) -> None:
        self._all.give_back(self._bytes_taken, owner)
        self._bytes_taken = 0
