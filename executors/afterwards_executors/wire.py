"""What goes over the pipe between a slot and its child: frames, each a length and so many bytes.

A request is a pickled function and its arguments. A reply is any number of notes, then one
`Outcome` in a form of its own, so that nothing a child sends is ever unpickled: the child may be
broken, or cut off in mid-sentence.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any, Final

from afterwards_executors.base import End, Outcome
from afterwards_executors.notes import MAX_NOTE_BYTES

LENGTH: Final = struct.Struct("!Q")

READY: Final = b"ready"
"""A child's first frame: it has started, and looks for requests."""

NOTE: Final = b"\xff"
"""A note's frame begins with it; no outcome's does."""

_OUTCOME: Final = struct.Struct("!BBdI")
_ENDS: Final = tuple(End)
_HAS_VALUE, _HAS_ERROR, _TRANSIENT = 1, 2, 4


def frame(body: bytes) -> bytes:
    """`body` as it goes over the pipe."""
    return LENGTH.pack(len(body)) + body


def encode_request(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """A call as a child can load it. Raises whatever pickling its arguments raises."""
    return pickle.dumps((function, args), pickle.HIGHEST_PROTOCOL)


def decode_request(body: bytes) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The call; imports its function. Raises whatever that, or unpickling its arguments, raises."""
    function, args = pickle.loads(body)  # noqa: S301 - the parent's own words
    return function, args


def encode_outcome(outcome: Outcome) -> bytes:
    """An outcome as bytes.

    Raises:
        TypeError, AttributeError, ValueError, struct.error: it does not hold what its fields say.
    """
    error = b"" if outcome.error is None else outcome.error.encode(errors="surrogatepass")
    # memoryview refuses what is not bytes-like, where bytes(5) would make five zeros.
    value = b"" if outcome.value is None else bytes(memoryview(outcome.value))
    flags = (
        (_HAS_VALUE if outcome.value is not None else 0)
        | (_HAS_ERROR if outcome.error is not None else 0)
        | (_TRANSIENT if outcome.transient else 0)
    )
    head = _OUTCOME.pack(_ENDS.index(outcome.end), flags, outcome.run_seconds, len(error))
    return b"".join((head, error, value))


def decode_outcome(body: bytes) -> Outcome:
    """The outcome in `body`.

    Raises:
        struct.error, IndexError, UnicodeDecodeError: there is none in it.
    """
    end, flags, run_seconds, error_length = _OUTCOME.unpack_from(body)
    value_at = _OUTCOME.size + error_length
    error = body[_OUTCOME.size : value_at].decode(errors="surrogatepass")
    return Outcome(
        _ENDS[end],
        value=body[value_at:] if flags & _HAS_VALUE else None,
        error=error if flags & _HAS_ERROR else None,
        transient=bool(flags & _TRANSIENT),
        run_seconds=run_seconds,
    )


class Replies:
    """Takes a child's words apart; of notes it keeps the last, however many a child sends."""

    def __init__(self) -> None:
        self._incoming = bytearray()
        self._note: bytes | None = None

    def feed(self, part: bytes) -> bytes | None:
        """The body of the first frame in it that is no note, once that is complete.

        A note that is too long for one, which its child cannot have meant, is taken for an outcome
        that cannot be read.
        """
        self._incoming += part
        at, end = 0, len(self._incoming)
        with memoryview(self._incoming) as incoming:
            while end - at >= LENGTH.size:
                start = at + LENGTH.size
                stop = start + LENGTH.unpack_from(incoming, at)[0]
                is_note = stop > start and self._incoming[start : start + 1] == NOTE
                if is_note and stop - start > MAX_NOTE_BYTES + 1:
                    return b""
                if stop > end:
                    break
                if not is_note:
                    return bytes(incoming[start:stop])
                self._note = bytes(incoming[start + 1 : stop])
                at = stop
        del self._incoming[:at]
        return None

    def take_note(self) -> bytes | None:
        """The last note since the last time, if any."""
        latest, self._note = self._note, None
        return latest

    def clear(self) -> None:
        """Forget what came after an answer: the next is another request's."""
        self._incoming.clear()
        self._note = None
