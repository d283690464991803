"""Sends mail over a few connections that are kept."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from afterwards.logs import get_logger
from afterwards.mail.answers import Gone
from afterwards.mail.connection import Connection, Surroundings
from afterwards.mail.content import Mail
from afterwards.mail.message import Letter, letter, message_id_of
from afterwards.mail.settings import MailSettings

log = get_logger(__name__)

IDLE_SECONDS: Final = 30.0
"""A connection that has sent nothing for so long is ended; servers wait for at least five minutes
(RFC 5321, 4.5.3.2.7)."""

_LARGE_BYTES: Final = 64 * 1024
"""To encode more takes long enough that others get their turn meanwhile."""


class Mailer:
    """All mail of one process; on one event loop."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._surroundings: asyncio.Task[Surroundings] | None = None
        self._room = asyncio.Semaphore(settings.connections)
        """A place is taken by each connection that is in use."""
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        """The last one used is the last: the others come to their end."""
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def notification_subject(self) -> str:
        """The subject of all notifications."""
        return self._settings.notification_subject

    async def send(self, mail: Mail, task_id: str) -> None:
        """Send a mail to all of its recipients, or to none.

        Its `Message-ID` is made from the task's id. Where the server did not say whether it took
        the mail, the next attempt may send it once more, with the same one.

        Raises:
            TransientError: another attempt may send it. The message has the server's words.
            PermanentError: the server refuses it for good, or cannot take such a mail.
            ValueError: a header would have a line break.
        """
        sender = self._settings.sender
        make = partial(letter, mail, sender, message_id_of(task_id, sender))
        made = make() if mail.size <= _LARGE_BYTES else await asyncio.to_thread(make)
        async with self._room:
            answer = await self._send(made)
        log.info("mail sent", message_id=made.message_id, answer=answer)

    async def _send(self, made: Letter) -> str:
        while (connection := self._take_idle()) is not None:
            try:
                return await self._send_over(connection, made)
            except Gone:
                # The server has closed it since the last mail, as it may.
                continue
        connection = await Connection.open(self._settings, await self._find_surroundings())
        return await self._send_over(connection, made)

    async def _send_over(self, connection: Connection, made: Letter) -> str:
        try:
            return await connection.send(made)
        finally:
            if connection.is_usable:
                self._keep(connection)
            else:
                connection.abort()

    async def _find_surroundings(self) -> Surroundings:
        """Those of this process, found once: a look-up of the own name may take seconds."""
        finding = self._surroundings
        if finding is None or (finding.done() and finding.exception() is not None):
            finding = asyncio.create_task(asyncio.to_thread(Surroundings.found))
            self._surroundings = finding
        # The attempt that has begun to look may be cancelled; others wait for the same.
        return await asyncio.shield(finding)

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            if connection.is_usable:
                return connection
            connection.abort()
        return None

    def _keep(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.call_later(IDLE_SECONDS, self._begin_end, connection)

    def _begin_end(self, connection: Connection) -> None:
        task = asyncio.create_task(
            self._end(connection, self._idle[connection]), name="end of a mail connection"
        )
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, connection: Connection, timer: asyncio.TimerHandle) -> None:
        # In a place of its own: until the server has answered, it counts the connection.
        async with self._room:
            if self._idle.get(connection) is timer:
                del self._idle[connection]
                await connection.quit()

    async def close(self) -> None:
        """End the connections that are idle; the process is about to end."""
        idle, self._idle = self._idle, {}
        for timer in idle.values():
            timer.cancel()
        await asyncio.gather(*self._ending, *(one.quit() for one in idle))
