"""One connection after another, with longer and longer pauses while none comes about."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
)


class NotConnected(Exception):
    """A connection could not be made, or was of no use."""


def keep_connected(
    hold: Callable[[], None], closed: threading.Event, is_done: Callable[[], bool]
) -> None:
    """Hold a connection, and the next one when it has ended, until it is done.

    Args:
        hold: one connection from its making to its end. Raises `NotConnected` if the next one had
            better wait.
        closed: ends a pause, too.
        is_done: looked at between connections.
    """
    while not is_done():
        attempts = Retrying(
            retry=retry_if_exception_type(NotConnected),
            wait=wait_exponential(multiplier=0.02, max=0.5),
            stop=stop_when_event_set(closed),
            sleep=sleep_using_event(closed),
            reraise=True,
        )
        try:
            attempts(hold)
        except NotConnected:
            return
