"""The wire between a host and the process that it works for: frames, each with a head of 9 bytes.

    length of the body (4 bytes) | kind (1) | number of the call, or 0 (4) | body

Both directions have the same form. Nothing that a host sends is ever unpickled: it may be broken,
or cut off in mid-sentence.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from afterwards_executors.base import End, Outcome

if TYPE_CHECKING:
    from afterwards_executors.cluster.settings import ClusterSettings

VERSION: Final = 4
"""A host says which one it speaks, in READY. Only hosts of the same version are given calls."""


class Kind(IntEnum):
    """The kind of a frame. Kinds below 16 go to a host, the others come from one."""

    SETUP = 1
    """The first frame; its body is a pickled `Setup`."""
    RUN = 2
    """Run this call; its body is the pickled function and arguments."""
    STOP = 3
    """This call had better end: it was cancelled, or its time is up."""
    LEAVE = 4
    """Nothing more will come; end in order."""
    PING = 5
    """Answer when the event loop comes to it."""
    WIND_UP = 6
    """This host is to be ended soon: its calls had better end by themselves."""
    ANSWER = 7
    """The answer to a question of the call: the number of the question, and the answer."""
    READY = 16
    """It takes calls; its body is the version of the wire."""
    PROGRESS = 18
    """The progress of a call."""
    DELAY = 19
    """Seconds to wait after a time-out of the call, as a double; NaN: the default holds."""
    ENDED = 20
    """The call's outcome, as `encode_outcome` writes it. It is the last frame of a call."""
    PRINTED = 21
    """A line that was written to Python's streams; one byte says which, 1 or 2."""
    LOGGED = 22
    """A finished line for the log of the service."""
    BLOCKED = 23
    """This call, or somebody's callback (0), has kept the loop for long; its body is the stack."""
    ALIVE = 24
    """The answer to PING: how many seconds the loop has been kept from its work so far."""
    WORN = 25
    """Its calls have used up what they share; it had better take no more of them."""
    ASKED = 26
    """A question of the call: its number, and the question. 0: it has no answer."""
    CLUSTER = 27
    """The slots of the cluster that calls go to, and in words what is wrong with it, if anything
    is."""


class Frame(NamedTuple):
    """One frame, taken apart."""

    kind: int
    call: int
    body: bytes


@dataclass(frozen=True)
class Setup:
    """The settings that a host has to know before its first call."""

    parent: int
    """The process that it works for, which it does not outlive."""
    kind: str
    sys_path: Sequence[str]
    max_frame_bytes: int
    """Longer ones are not sent."""
    blocked_seconds: float
    """A call that keeps the event loop for so long is told of."""
    is_terminal: bool
    """True if the log ends up on a terminal."""
    prepare: bytes | None = field(default=None, repr=False)
    """A call, as `encode_call` writes it, that is made before the host is ready. It may hold
    secrets."""
    cluster: ClusterSettings | None = field(default=None, repr=False)
    """The cluster that a host of kind "dask" passes its calls on to."""


HEAD: Final = struct.Struct("!IBI")
SECONDS: Final = struct.Struct("!d")
NUMBER: Final = struct.Struct("!I")

MAX_UNANSWERED: Final = 16
"""Questions of one call that wait for their answers; others wait in its host."""

_OUTCOME: Final = struct.Struct("!BBIddddII")
_ENDS: Final = tuple(End)
_HAS_VALUE, _HAS_ERROR, _TRANSIENT, _HAS_EXTRA, _GONE = 1, 2, 4, 8, 16
_NOTHING: Final = float("nan")
_LONGEST: Final = 2**32 - 1


def frame(kind: Kind, call: int = 0, body: bytes = b"") -> bytes:
    """A frame as it goes over the wire."""
    return HEAD.pack(len(body), kind, call) + body


class BrokenWire(Exception):
    """The received bytes cannot be a frame."""


class Incoming:
    """Takes what has been received apart.

    Args:
        max_frame_bytes: a longer body is not waited for.
    """

    def __init__(self, max_frame_bytes: int = _LONGEST) -> None:
        self._data = bytearray()
        self._most = max_frame_bytes

    def rest(self) -> bytes:
        """The part of a frame that is here."""
        return bytes(self._data)

    def feed(self, part: bytes) -> Iterator[Frame]:
        """The frames that are complete with this part.

        Raises:
            BrokenWire: one is too long, so that it was not meant as a frame.
        """
        data = self._data
        data += part
        at, end = 0, len(data)
        try:
            while end - at >= HEAD.size:
                length, kind, call = HEAD.unpack_from(data, at)
                if length > self._most:
                    raise BrokenWire(f"a frame of {length} bytes")
                start = at + HEAD.size
                if end - start < length:
                    return
                at = start + length
                yield Frame(kind, call, bytes(data[start:at]))
        finally:
            del data[:at]


def encode_call(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """A call as a host can load it. Raises whatever pickling its arguments raises."""
    return pickle.dumps((function, args), pickle.HIGHEST_PROTOCOL)


def decode_call(body: bytes) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The call; imports its function. Raises whatever that, or unpickling its arguments, raises."""
    function, args = pickle.loads(body)  # noqa: S301 - the words of whoever started this process
    return function, args


def encode_outcome(
    outcome: Outcome, cpu_seconds: float | None = None, peak_memory_bytes: int | None = None
) -> bytes:
    """An outcome as bytes, with what the call has taken of the machine.

    Raises:
        TypeError, AttributeError, ValueError, struct.error: it does not hold what its fields say.
    """
    error = b"" if outcome.error is None else outcome.error.encode(errors="surrogatepass")
    # memoryview refuses what is not bytes-like, where bytes(5) would make five zeros.
    value = b"" if outcome.value is None else bytes(memoryview(outcome.value))
    extra = b"" if outcome.extra is None else bytes(memoryview(outcome.extra))
    flags = (
        (_HAS_VALUE if outcome.value is not None else 0)
        | (_HAS_ERROR if outcome.error is not None else 0)
        | (_TRANSIENT if outcome.transient else 0)
        | (_HAS_EXTRA if outcome.extra is not None else 0)
        | (_GONE if outcome.gone else 0)
    )
    head = _OUTCOME.pack(
        _ENDS.index(outcome.end),
        flags,
        outcome.crowd,
        outcome.run_seconds,
        _or_nothing(outcome.retry_in_seconds),
        _or_nothing(cpu_seconds),
        _or_nothing(peak_memory_bytes),
        len(error),
        len(extra),
    )
    return b"".join((head, error, extra, value))


def decode_outcome(body: bytes) -> Outcome:
    """The outcome in `body`.

    Raises:
        struct.error, IndexError, UnicodeDecodeError: there is none in it.
    """
    (end, flags, crowd, run_seconds, retry_in, cpu, memory, error_length, extra_length) = (
        _OUTCOME.unpack_from(body)
    )
    extra_at = _OUTCOME.size + error_length
    value_at = extra_at + extra_length
    error = body[_OUTCOME.size : extra_at].decode(errors="surrogatepass")
    peak = _unless_nothing(memory)
    return Outcome(
        _ENDS[end],
        value=body[value_at:] if flags & _HAS_VALUE else None,
        error=error if flags & _HAS_ERROR else None,
        extra=body[extra_at:value_at] if flags & _HAS_EXTRA else None,
        transient=bool(flags & _TRANSIENT),
        gone=bool(flags & _GONE),
        crowd=crowd,
        run_seconds=run_seconds,
        retry_in_seconds=_unless_nothing(retry_in),
        cpu_seconds=_unless_nothing(cpu),
        peak_memory_bytes=None if peak is None else int(peak),
    )


def _or_nothing(value: float | None) -> float:
    return _NOTHING if value is None else value


def _unless_nothing(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 - NaN is what differs from itself
