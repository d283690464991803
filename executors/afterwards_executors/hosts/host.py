"""One host, as the executor that it belongs to sees it. Belongs to that executor's event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final, Protocol

from afterwards_executors.base import Outcome
from afterwards_executors.frames import (
    MAX_UNANSWERED,
    NUMBER,
    SECONDS,
    VERSION,
    BrokenWire,
    Frame,
    Kind,
    decode_outcome,
    frame,
)
from afterwards_executors.hosts.calls import HostedCall
from afterwards_executors.hosts.output import Output
from afterwards_executors.hosts.process import HostProcess
from afterwards_executors.hosts.settings import FRAME_MARGIN_BYTES, HostSettings
from afterwards_executors.hosts.unbegun import Unbegun
from afterwards_executors.hosts.wire import CLOSED, HostWire
from afterwards_executors.progress import MAX_PROGRESS_BYTES
from afterwards_executors.submissions import soon

START_TIMEOUT_SECONDS: Final = 60.0
"""The time in which a host has to import what it needs; the clock of a call starts after that."""

LEAVE_SECONDS: Final = 2.0
"""The time in which a host without calls has to end by itself."""

CLOSED_SECONDS: Final = 1.0
"""The time in which a host that has closed its end of the wire has to end."""

SILENT: Final = "did not answer any more"

_NOT_NEEDED: Final = "was not needed any more"


class HostOwner(Protocol):
    """The part of the executor that a host speaks to."""

    def begun(self, call: HostedCall) -> None:
        """The call's clock runs."""

    def ended(self, host: Host, call: HostedCall, outcome: Outcome) -> None:
        """The call is over; it is out of `host.calls`."""

    def alive(self, host: Host, call: HostedCall | None, kept_seconds: float) -> None:
        """The answer to `ping`."""

    def blocked(self, host: Host, call: HostedCall | None) -> None:
        """The call, or a callback of no call, keeps the host's event loop."""

    def worn(self, host: Host) -> None:
        """Its calls have used up what they share."""

    def cluster(self, host: Host, slots: int, problem: str) -> None:
        """The cluster that the host reaches has so many slots; empty: nothing is wrong with it."""

    def died(self, host: Host, how: str) -> None:
        """The process is gone, and everything it has said was heard."""


class Host:
    """A process that runs calls. It is started, gets calls, and ends in one of three ways.

    It may die, it may be killed (`kill`), or it takes no more calls and leaves when it has none
    (`retire`). In each case `HostOwner.died` comes last, and exactly once.

    Args:
        crowd: how many calls it may run at a time; None: as many as its executor likes.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        kind: str,
        settings: HostSettings,
        owner: HostOwner,
        *,
        generation: int,
        crowd: int | None,
    ) -> None:
        self._loop = loop
        self._kind = kind
        self._settings = settings
        self._owner = owner
        self.generation = generation
        self.crowd = crowd
        self.calls: dict[int, HostedCall] = {}
        """Those it has been given and that are not over, by number."""
        self.is_ready = False
        self.is_retiring = False
        """True if it takes no more calls."""
        self.is_gone = False
        self.ended_for: HostedCall | None = None
        """The call that it had to be ended for."""
        self.blocker: HostedCall | None = None
        """The call that keeps its loop, as far as it is known."""
        self.is_blocked = False
        """True if something keeps its loop."""
        self.overdue_at: float | None = None
        """The moment at which the first of its calls was overdue, monotonic."""
        self.winds_up = False
        """True if its calls have been asked to end."""
        self.idle_since = monotonic()
        self._process: HostProcess | None = None
        self._output: Output | None = None
        longest = settings.max_value_bytes + FRAME_MARGIN_BYTES
        self._wire = HostWire(loop, longest, self._hear, self._note_closed)
        self._unbegun = Unbegun(loop, owner.begun)
        self._how: str | None = None
        """Why it was killed."""
        self._of_calls: dict[int, Callable[[HostedCall, bytes], None]] = {
            Kind.ENDED: self._end,
            Kind.PROGRESS: self._progress,
            Kind.DELAY: self._note_delay,
            Kind.ASKED: self._asked,
        }
        self._of_host: dict[int, Callable[[HostedCall | None, bytes], None]] = {
            Kind.PRINTED: self._note_printed,
            Kind.LOGGED: self._note_logged,
            Kind.BLOCKED: self._note_blocked,
            Kind.ALIVE: self._note_alive,
            Kind.READY: self._be_ready,
            Kind.WORN: lambda *_: owner.worn(self),
            Kind.CLUSTER: self._note_cluster,
        }
        self._timer: asyncio.TimerHandle | None = None
        self._arm(START_TIMEOUT_SECONDS, f"did not start in {START_TIMEOUT_SECONDS:g} s")

    # -- for the executor ----------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """None: it has no process yet."""
        return None if self._process is None else self._process.pid

    @property
    def served(self) -> int:
        """The number of calls that it was given so far."""
        return self._unbegun.given

    def begun_calls(self) -> list[HostedCall]:
        """Those that have begun."""
        self._unbegun.look()
        return [call for call in self.calls.values() if call.has_begun]

    def takes_calls(self) -> bool:
        """True if calls are well placed here. A host that does not begin them may be blocked."""
        if self.is_retiring or self.is_blocked:
            return False
        return self._unbegun.silent_seconds() < self._settings.blocked_seconds

    def end_if_hung(self) -> None:
        """End it if it has calls, begins with none of them, and no time limit will end it."""
        is_silent = self._unbegun.silent_seconds() > self._settings.silent_seconds
        if is_silent and not self.begun_calls():
            self.kill(SILENT)

    def adopt(self, process: HostProcess) -> None:
        """Its process was started.

        Raises:
            OSError, MemoryError: it cannot be watched; it is gone again.
        """
        self._process = process
        if self._how is not None:
            process.kill()
        try:
            self._output = Output(self._loop, process.output, self._printed)
            self._wire.attach(process.wire)
            self._loop.add_reader(process.death, self._note_death)
        except BaseException:
            self._let_go(process)
            process.reap()
            raise

    def abandon(self) -> list[HostedCall]:
        """It could not be started. Returns the calls that it was given."""
        self._disarm()
        self.is_gone = self.is_retiring = True
        calls = list(self.calls.values())
        self.calls.clear()
        return calls

    def run(self, call: HostedCall) -> None:
        """Give it a call."""
        call.has_host = True
        self.calls[call.number] = call
        self._unbegun.add(call)
        self.send(frame(Kind.RUN, call.number, call.request))

    def send(self, data: bytes) -> None:
        """Send a frame, with all others of this turn of the loop."""
        self._wire.send(data)

    def ping(self, call: HostedCall | None = None) -> None:
        """Ask whether its loop has its turn; the answer names the call."""
        self.send(frame(Kind.PING, 0 if call is None else call.number))

    def wind_up(self) -> None:
        """Let its calls see that they had better end."""
        self.winds_up = True
        if self.calls:
            self.send(frame(Kind.WIND_UP))

    def retire(self) -> None:
        """Take no more calls, and leave as soon as there are none."""
        self.is_retiring = True
        if not self.calls:
            self.leave(LEAVE_SECONDS)

    def leave(self, seconds: float) -> None:
        """Let it end by itself, with its exit handlers; kill it if it does not."""
        self.is_retiring = True
        if seconds <= 0 or self._process is None:
            self.kill(_NOT_NEEDED)
            return
        self.send(frame(Kind.LEAVE))
        self._how = _NOT_NEEDED
        self._arm(seconds, self._how)

    def kill(self, how: str, for_call: HostedCall | None = None) -> None:
        """End it, with all its calls and whatever they have started."""
        self.is_retiring = True
        self._how = self._how or how
        self.ended_for = self.ended_for or for_call
        if self._process is not None and not self.is_gone:
            self._process.kill()

    def _arm(self, seconds: float, how: str) -> None:
        """Kill it after this time."""
        self._disarm()
        self._timer = self._loop.call_later(seconds, self.kill, how)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # -- what it says --------------------------------------------------------------------------

    def _hear(self, said: Frame) -> None:
        call = self.calls.get(said.call)
        if said.kind in self._of_calls:
            if call is not None:  # else it is over
                self._of_calls[said.kind](call, said.body)
        elif said.kind in self._of_host:
            self._of_host[said.kind](call, said.body)
        else:
            raise BrokenWire(f"a frame of kind {said.kind}")

    def _end(self, call: HostedCall, body: bytes) -> None:
        outcome = decode_outcome(body)
        del self.calls[call.number]
        self._unbegun.ended(call)
        if not self.calls:
            self.idle_since = monotonic()
            if self.is_retiring and self._how is None:
                # Not at once: the outcome that was just heard is told first.
                self._loop.call_soon(self.retire)
        self._owner.ended(self, call, outcome)

    def _progress(self, call: HostedCall, body: bytes) -> None:
        if len(body) > MAX_PROGRESS_BYTES:
            raise BrokenWire("progress that is too long")
        call.send_progress(body)

    def _note_delay(self, call: HostedCall, body: bytes) -> None:
        (seconds,) = SECONDS.unpack(body)
        call.time_out_delay(seconds if seconds >= 0 else None)

    def _asked(self, call: HostedCall, body: bytes) -> None:
        (number,) = NUMBER.unpack_from(body)
        question = body[NUMBER.size :]
        if number == 0:
            call.put_question(question, None)
            return
        if call.unanswered >= MAX_UNANSWERED:
            raise BrokenWire("more questions than answers")
        call.unanswered += 1
        call.put_question(question, partial(self._answer, call, number))

    def _answer(self, call: HostedCall, number: int, answer: bytes) -> None:
        """Give an answer to a question, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            soon(self._loop)(self._send_answer, call, NUMBER.pack(number) + answer)

    def _send_answer(self, call: HostedCall, body: bytes) -> None:
        call.unanswered -= 1
        if call.number in self.calls:  # else it is over
            self.send(frame(Kind.ANSWER, call.number, body))

    def _note_blocked(self, call: HostedCall | None, body: bytes) -> None:
        self.blocker, self.is_blocked = call, True
        self.ping()  # it answers when it is not
        stack = body.decode(errors="replace")
        is_call = call is not None
        self._settings.listener.blocked(self._kind, self.pid or 0, stack, is_call=is_call)
        self._owner.blocked(self, call)

    def _note_alive(self, call: HostedCall | None, body: bytes) -> None:
        self.blocker, self.is_blocked = None, False
        self._owner.alive(self, call, *SECONDS.unpack(body))

    def _note_logged(self, call: HostedCall | None, body: bytes) -> None:
        line = body.decode(errors="replace")
        if call is not None:
            call.keep(line)
        if call is not None and call.work.on_logged is not None:
            call.work.on_logged(line)
        else:
            self._settings.listener.logged(line)

    def _note_printed(self, call: HostedCall | None, body: bytes) -> None:
        line = body[1:].decode(errors="replace")
        if call is not None:
            call.printed(line)
        else:
            self._printed(line)

    def _be_ready(self, _: HostedCall | None, version: bytes) -> None:
        if version != bytes([VERSION]):
            self.kill("speaks another version of the wire")
            return
        self.is_ready = True
        self._wire.open()
        assert self._process is not None
        self._unbegun.open(self._process.begun)
        if self._how is None:
            self._disarm()

    def _note_cluster(self, _: HostedCall | None, body: bytes) -> None:
        (slots,) = NUMBER.unpack_from(body)
        self._owner.cluster(self, slots, body[NUMBER.size :].decode(errors="replace"))

    def _printed(self, line: str) -> None:
        self._settings.listener.printed(self._kind, self.pid or 0, line)

    # -- its end -------------------------------------------------------------------------------

    def _note_closed(self, how: str) -> None:
        self.is_retiring = True
        if how == CLOSED:
            # Mostly it is about to end by itself. Without a wire it is of no use in any case.
            self._arm(CLOSED_SECONDS, how)
        else:
            self.kill(how)

    def _note_death(self) -> None:
        assert self._process is not None
        # What it said last is worth as much as the rest.
        self._wire.drain()
        self._unbegun.close()
        self.is_gone = self.is_retiring = True
        self._let_go(self._process)
        self._disarm()
        how = self._process.reap()
        self._owner.died(self, self._how or how)

    def _let_go(self, process: HostProcess) -> None:
        """Watch it no longer."""
        self._loop.remove_reader(process.death)
        self._wire.detach()
        if self._output is not None:
            self._output.close()
