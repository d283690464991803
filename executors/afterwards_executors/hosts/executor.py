"""Executors whose calls run in hosts: processes of their own, whatever the calls do to them.

    submit -> the queue -> a host with room, or a fresh one -> begun -> ended -> outcome

Everything but `submit`, `cancel` and `slots` happens on one event loop, which also reads and writes
the wires of all hosts; so nothing here waits for a host. Kinds differ in how many calls a host runs
at a time, and in what is done about one whose time is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import count
from time import monotonic
from typing import Final

from afterwards_executors.base import End, HostView, Outcome, Slots, Work
from afterwards_executors.calls import (
    SHUT_DOWN,
    Calls,
    cancellation,
    failure_of,
    starved,
)
from afterwards_executors.frames import BrokenWire, Kind, encode_call, frame
from afterwards_executors.hosts.calls import HostedCall, lost
from afterwards_executors.hosts.crew import Crew
from afterwards_executors.hosts.host import LEAVE_SECONDS, Host
from afterwards_executors.hosts.loop import own_loop
from afterwards_executors.hosts.settings import HostSettings
from afterwards_executors.hosts.time_limits import TimeLimits
from afterwards_executors.submissions import Submissions

MAX_HOSTS_A_CALL: Final = 2
"""A host that ends before it has begun with its call costs nothing, once; twice is no accident."""

GENERATIONS: Final = 3
"""The number of generations, the present one included, whose calls may run; older ones are
ended."""

WIND_UP_SECONDS: Final = 30.0
"""The time for which calls may go on after they were asked to end."""

REPLACED: Final = "released: newer code has taken the place of what it ran"
WOUND_UP: Final = "was ended: newer code has taken its place"

KILL_SECONDS: Final = 5.0
"""The time for which killed hosts are waited for; one that hangs in the kernel is left behind."""


class HostExecutor:
    """Runs importable functions in hosts; see `afterwards_executors.base.HostedExecutor`."""

    def __init__(self, kind: str, slots: int, settings: HostSettings | None = None) -> None:
        self.kind = kind
        self.can_stop = kind != "thread"
        self._settings = settings or HostSettings()
        self._calls = Calls(slots)
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._submissions: Submissions[HostedCall] = Submissions(self._calls)
        self._to_stop: deque[tuple[HostedCall, bool]] = deque()
        self._ended = threading.Event()
        # Below: the loop only.
        self._loop: asyncio.AbstractEventLoop
        self._stop_own_loop: Callable[[float], None] = lambda _: None
        self._waiting: deque[HostedCall] = deque()
        self._is_closing = False

    def start(self) -> None:
        """Work on the event loop of this thread, if one runs here; otherwise on one of its own."""
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop, self._stop_own_loop = own_loop(f"hosts-{self.kind}")
        self._crew = Crew(self._loop, self.kind, self._calls.total, self._settings, self)
        self._limits = TimeLimits(self._loop, self.kind, self._settings, self._calls, self._crew)
        if self._settings.keep:
            self._loop.call_soon_threadsafe(self._crew.keep_ready)

    # -- from any thread -----------------------------------------------------------------------

    def slots(self) -> Slots:
        """The numbers of slots by state."""
        slots = self._calls.slots()
        stuck = min(self._limits.overdue(), slots.busy)
        return Slots(slots.total + self._crew.reserve, slots.busy - stuck, stuck)

    def hosts(self) -> list[HostView]:
        """See `HostedExecutor.hosts`."""
        return [
            HostView(host.pid, self.kind, host.generation, host.is_retiring, host.crowd, host.calls)
            for host in self._crew.all_hosts()
            if host.pid is not None
        ]

    def submit(self, work: Work) -> Future[Outcome]:
        """Run `work` as soon as a slot is free; see `Executor.submit`."""
        refusal, request = None, b""
        try:
            request = self._encoded(work)
        except MemoryError as error:
            refusal = starved(error)
        except Exception as error:  # noqa: BLE001 - pickling runs foreign code
            reason = failure_of(error, 0.0).error
            refusal = Outcome(End.FAILED, error=f"The call cannot be sent to a host: {reason}")
        call = self._new_call(work, next(self._numbers) & 0xFFFFFFFF, request)
        self._calls.admit(call)
        if refusal is not None:
            self._calls.finish(call, refusal)
            return call
        self._submissions.add(call, self._loop, self._look)
        return call

    def cancel(self, future: Future[Outcome], reason: str, *, by_force: bool = False) -> bool:
        """Stop a submitted call; see `Executor.cancel`."""
        assert isinstance(future, HostedCall)
        with self._lock:
            # Under the lock: it cannot be given to a host meanwhile.
            must_ask = not self.can_stop and not by_force and future.has_host
            is_settled = not must_ask and self._calls.settle(future, cancellation(reason))
        if must_ask:
            future.is_cancel_asked = True
        elif not is_settled:
            return False
        self._to_stop.append((future, by_force))
        self._wake()
        return not must_ask

    def renew(self, settings: HostSettings | None = None) -> None:
        """See `HostedExecutor.renew`."""
        self._loop.call_soon_threadsafe(self._renew, settings)

    def wind_up(self) -> None:
        """See `HostedExecutor.wind_up`."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._crew.wind_up)

    def shutdown(self, timeout_seconds: float) -> None:
        """Kill the hosts that run calls, let the others end, and wait for them.

        Not to be called on the event loop, which has to go on. A second call does nothing.
        """
        deadline = monotonic() + timeout_seconds
        unresolved = self._calls.close()
        for call in unresolved:
            self._calls.settle(call, SHUT_DOWN)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._close, timeout_seconds)
            # Without any time left the hosts are killed, and even that takes a moment.
            self._ended.wait(max(0.0, deadline - monotonic()) + KILL_SECONDS)
        self._crew.close(KILL_SECONDS)
        self._stop_own_loop(KILL_SECONDS)
        for call in unresolved:
            self._calls.give_up(call)

    def _encoded(self, work: Work) -> bytes:
        """The call as its host takes it. Raises whatever pickling its arguments raises."""
        return encode_call(work.function, work.args)

    def _new_call(self, work: Work, number: int, request: bytes) -> HostedCall:
        return HostedCall(work, number, request)

    def _wake(self) -> None:
        self._submissions.wake(self._loop, self._look)

    # -- the loop: calls -----------------------------------------------------------------------

    def _look(self) -> None:
        self._waiting.extend(self._submissions.take())
        self._place()
        while self._to_stop:
            self._stop(*self._to_stop.popleft())

    def _place(self) -> None:
        """Give hosts the calls that they have room for, first come, first served."""
        passed_over: list[HostedCall] = []
        full: set[int | None] = set()
        while self._waiting:
            call = self._waiting.popleft()
            if call.work.crowd in full or not self._give(call):
                passed_over.append(call)
                full.add(call.work.crowd)
        self._waiting.extendleft(reversed(passed_over))

    def _give(self, call: HostedCall) -> bool:
        """Give the call to a host, or its outcome to the call; False: it has to wait."""
        try:
            host = self._crew.host_for(call.work.crowd)
        except Exception as error:  # noqa: BLE001 - threads or memory have run out
            self._finish(call, starved(error))
            return True
        if host is None:
            return False
        with self._lock:
            is_settled = call.verdict is not None
            if not is_settled:
                host.run(call)
        if is_settled:
            self._finish(call, SHUT_DOWN)
        return True

    def _stop(self, call: HostedCall, by_force: bool) -> None:
        """Stop a call, which is settled unless it can only be asked."""
        host = self._crew.host_of(call)
        if call.done():
            return
        if host is None:
            with contextlib.suppress(ValueError):
                self._waiting.remove(call)
            self._finish(call, SHUT_DOWN)
        elif call.verdict is None:
            host.send(frame(Kind.STOP, call.number))
        elif by_force or self.kind == "process":
            # In the next turn: others that are stopped with it are settled by then.
            self._loop.call_soon(host.kill, "was ended", call)
        else:
            host.send(frame(Kind.STOP, call.number))
            self._limits.expect_end(call)

    def _finish(self, call: HostedCall, outcome: Outcome) -> None:
        self._limits.forget(call)
        lines = call.log_lines()
        if lines:
            # Nobody else writes to a verdict that there is.
            call.verdict = replace(call.verdict or outcome, log_lines=lines)
        self._calls.finish(call, outcome)

    # -- the loop: what hosts say --------------------------------------------------------------

    def begun(self, call: HostedCall) -> None:
        """See `HostOwner`."""
        self._limits.begin(call)

    def ended(self, host: Host, call: HostedCall, outcome: Outcome) -> None:
        """See `HostOwner`."""
        self._crew.look_at_reserve()
        self._crew.retire_if_worn(host, is_worn=outcome.end is End.STARVED)
        self._finish(call, outcome)
        self._limits.ended_in(host)
        if self._waiting:
            self._place()

    def alive(self, host: Host, call: HostedCall | None, kept_seconds: float) -> None:
        """See `HostOwner`."""
        self._limits.alive(host, call, kept_seconds)

    def blocked(self, host: Host, call: HostedCall | None) -> None:
        """See `HostOwner`."""
        self._limits.blocked(host, call)

    def worn(self, host: Host) -> None:
        """See `HostOwner`."""
        self._crew.retire_if_worn(host, is_worn=True)

    def cluster(self, host: Host, slots: int, problem: str) -> None:
        """See `HostOwner`. No host of these kinds reaches one."""
        raise BrokenWire("a frame of another kind of host")

    def died(self, host: Host, how: str) -> None:
        """See `HostOwner`."""
        self._crew.remove(host)
        self._crew.look_at_reserve()
        calls, begun = list(host.calls.values()), len(host.begun_calls())
        host.calls.clear()
        if not self._is_closing and (calls or not host.is_ready):
            self._settings.listener.ended(self.kind, host.pid or 0, how, begun)
        for call in reversed(calls):
            self._fate_of(call, host, how, begun)
        if self._is_closing and self._crew.is_empty():
            self._ended.set()
        self._place()

    def cannot_start(self, calls: Sequence[HostedCall], error: Exception) -> None:
        """See `CrewOwner`."""
        for call in calls:
            self._finish(call, starved(error))
        if self._is_closing and self._crew.is_empty():
            self._ended.set()
        self._place()

    def _fate_of(self, call: HostedCall, host: Host, how: str, begun: int) -> None:
        if call.verdict is not None:
            self._finish(call, SHUT_DOWN)
        elif not call.has_begun:
            call.back_in_the_queue()
            if call.hosts_lost < MAX_HOSTS_A_CALL:
                self._waiting.appendleft(call)
            else:
                self._finish(call, starved(RuntimeError(f"its host {how}")))
        elif host.ended_for is not None:
            error = "released: its process had to be ended because of another attempt in it"
            self._finish(call, Outcome(End.RELEASED, error=error, run_seconds=call.run_seconds))
        else:
            self._finish(call, lost(call, how, begun))

    # -- the loop: the end ---------------------------------------------------------------------

    def _renew(self, settings: HostSettings | None) -> None:
        self._settings = settings or self._settings
        self._crew.renew(self._settings)
        earlier = self._crew.generation - 1
        self._loop.call_later(self._settings.handover_seconds, self._end_generations, earlier)
        self._end_generations(self._crew.generation - GENERATIONS)
        self._place()

    def _end_generations(self, latest: int) -> None:
        """Have calls of this generation, and of those before it, end."""
        for host in self._crew.hosts_of(latest):
            if not host.winds_up:
                host.wind_up()
                self._loop.call_later(WIND_UP_SECONDS, self._replace, host)

    def _replace(self, host: Host) -> None:
        if host.calls and not host.is_gone:
            for call in host.calls.values():
                self._calls.settle(call, cancellation(REPLACED))
            host.kill(WOUND_UP)

    def _close(self, timeout_seconds: float) -> None:
        self._is_closing = True
        self._look()
        while self._waiting:
            self._finish(self._waiting.popleft(), SHUT_DOWN)
        self._crew.end_all(min(LEAVE_SECONDS, timeout_seconds))
        if self._crew.is_empty():
            self._ended.set()
