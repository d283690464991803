"""Shortages: something has run out just now. They are told apart, survived, said once."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

from structlog.typing import FilteringBoundLogger

_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})


def is_shortage(error: BaseException) -> bool:
    """True if descriptors, memory or processes have run out, which says nothing else."""
    if isinstance(error, OSError):
        return error.errno in _SHORTAGES
    return isinstance(error, MemoryError)


class Trouble:
    """Something that is tried again until it works, with one line for all the times it does not.

    Args:
        log: gets the line.
        line: what cannot be done, and what happens instead.
    """

    def __init__(self, log: FilteringBoundLogger, line: str) -> None:
        self._log = log
        self._line = line
        self.is_on = False
        """True if it did not work when it was tried last."""

    def failed(self, error: BaseException) -> None:
        """It did not work; said, unless that has been since it last worked."""
        if not self.is_on:
            self.is_on = True
            self._log.error(self._line, error=str(error) or repr(error))

    def over(self) -> None:
        """It worked."""
        self.is_on = False

    @contextlib.contextmanager
    def survived(self) -> Iterator[None]:
        """Try something that may want for descriptors, memory or processes."""
        try:
            yield
        except (OSError, MemoryError) as error:
            self.failed(error)
        else:
            self.over()
