"""The end of a key, for what goes on for long: streams and waits that were begun with it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from fastapi import Request

from afterwards.access.principal import Principal
from afterwards.errors import InvalidKey

T = TypeVar("T")

LOOK_SECONDS: Final = 0.5
"""The time between two looks at all keys that something goes on with."""


class Lapses:
    """Tells those that it watches when their key or their session ends. For one event loop.

    One look a second is for all of a key's streams, so that thousands cost what one does.

    Args:
        holds: True while a principal may go on.
    """

    def __init__(self, holds: Callable[[Principal], bool]) -> None:
        self._holds = holds
        self._watched: defaultdict[object, dict[asyncio.Future[None], Principal]]
        self._watched = defaultdict(dict)
        self._next: asyncio.TimerHandle | None = None

    @contextmanager
    def watched(self, principal: Principal) -> Iterator[asyncio.Future[None]]:
        """A future that is done as soon as the principal may not go on."""
        loop = asyncio.get_running_loop()
        lapse: asyncio.Future[None] = loop.create_future()
        of_key = self._watched[principal.session or principal.key_id]
        of_key[lapse] = principal
        if self._next is None:
            self._next = loop.call_later(LOOK_SECONDS, self._look)
        try:
            yield lapse
        finally:
            of_key.pop(lapse, None)

    def _look(self) -> None:
        for key_id, of_key in list(self._watched.items()):
            principal = next(iter(of_key.values()), None)
            if principal is None:
                del self._watched[key_id]
            elif not self._holds(principal):
                for lapse in of_key:
                    if not lapse.done():
                        lapse.set_result(None)
        self._next = None
        if self._watched:
            self._next = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)


async def while_allowed(request: Request, awaited: Awaitable[T]) -> T:
    """Await it as long as the request's sender may go on.

    Raises:
        InvalidKey: its key was revoked, or has expired.
    """
    lapses: Lapses = request.app.state.gate.lapses
    with lapses.watched(request.scope["principal"]) as lapse:
        waiting = asyncio.ensure_future(awaited)
        try:
            await asyncio.wait((waiting, lapse), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not waiting.done():
                waiting.cancel()
        await asyncio.wait((waiting,))
    if waiting.cancelled():
        raise InvalidKey
    return waiting.result()
