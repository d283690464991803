"""The contract of an executor: it runs one function at a time per slot, and says how it ended.

An executor knows nothing of tasks, registries or HTTP. It takes a `Work`, gives back a
`concurrent.futures.Future`, and resolves it with an `Outcome`, whatever the function does: raise,
hang, exit, or take its process down. The future itself never holds an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from afterwards_executors.hosts.settings import HostSettings


class End(StrEnum):
    """The end of an attempt, by kind."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The function raised."""
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    """Stopped by `Executor.cancel` or `Executor.shutdown` before it ended by itself."""
    LOST = "lost"
    """Its process died, and it was alone in it; how far it came is not known."""
    SUSPECTED = "suspected"
    """Its process died, and there were others in it: one of them may have done it."""
    RELEASED = "released"
    """Its process had to be ended because of another call in it. Worth running again."""
    STARVED = "starved"
    """Something ran out that is not the call's own: descriptors, threads, memory, processes. It is
    no call's fault, and worth submitting again after a pause. Where an executor says so and not the
    function, it is certain that the function has not begun and never will."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an attempt and what it left, as plain data that can cross a process border."""

    end: End
    value: bytes | None = None
    """The result, encoded; of a failure, what the function says of it besides the error."""
    error: str | None = None
    """A message for people; set when it did not succeed."""
    extra: bytes | None = None
    """The rest of what a function that has succeeded leaves, encoded as it likes."""
    transient: bool = False
    """True if the same work may succeed when it is tried again."""
    run_seconds: float = 0.0
    retry_in_seconds: float | None = None
    """The time after which the function's policy wants another try; None: not at all."""
    gone: bool = False
    """True if it failed because what it was to reach is gone for good (`Gone`)."""
    crowd: int = 0
    """The number of calls that had begun in the process that died; of a suspected call only."""
    log_lines: tuple[str, ...] = ()
    """The last lines that it printed or logged; bounded by `LOG_LINES` and `LOG_BYTES`."""
    cpu_seconds: float | None = None
    """The processor time of its process and of the children waited for; None: it shared one."""
    peak_memory_bytes: int | None = None
    """The peak memory of its process while it ran; None: it shared one."""


LOG_LINES: Final = 64
LOG_BYTES: Final = 8 * 1024


class Name(NamedTuple):
    """A call's name on other machines, where it may outlive the process that has submitted it."""

    group: str
    """Calls of one group take about as long as each other."""
    name: str
    number: int
    """The place among the calls of this name, one of which may run: the next begins once those
    before it are over."""


class Placement(NamedTuple):
    """The machines that a call may run on."""

    resources: tuple[tuple[str, float], ...] = ()
    """The amounts that it takes of a machine while it runs, by name."""
    workers: tuple[str, ...] = ()
    """Names, addresses or hosts of Dask workers, of which it needs one; empty: any will do."""


ANYWHERE: Final = Placement()


@dataclass(frozen=True, slots=True)
class Work:
    """A function call for an executor.

    `function` returns an `Outcome`, having dealt with its own errors; whatever it raises all the
    same becomes a permanent `End.FAILED`. For the `async` executor it is a coroutine function; for
    `process` it has to be importable by name and its arguments picklable.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    timeout_seconds: float | None = None
    on_progress: Callable[[bytes], None] | None = None
    """Called with the function's progress (`afterwards_executors.progress`) before its outcome;
    from any thread but never by two at once. Must not wait. From a host, the bytes are the host's
    word only."""
    on_line: Callable[[str], None] | None = None
    """Called with each line that it prints, where it runs in a host. Must not wait."""
    crowd: int | None = None
    """It may share its process with so many calls at most, itself included; None: with any."""
    on_question: Callable[[bytes, Callable[[bytes], None] | None], None] | None = None
    """Called with each question of the function's, in their order, and with what takes the answer,
    once, at any time and in any thread; None: it has no answer. Must not wait. From a host, the
    bytes are the host's word only."""
    on_logged: Callable[[str], None] | None = None
    """Called with each finished line that it has for the log; None: the host's listener hears it.
    Must not wait."""
    name: Name | None = None
    """Its name for other machines. Where it runs on this one, it has no meaning."""
    placement: Placement = ANYWHERE
    """As `name`."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The numbers of an executor's slots by state: `total` = busy + stuck + free."""

    total: int
    busy: int
    stuck: int
    """Held by a call that was timed out or cancelled and could not be stopped."""

    @property
    def free(self) -> int:
        """The number of further calls that would start at once."""
        return max(0, self.total - self.busy - self.stuck)


class HostView(NamedTuple):
    """One host, as it is at the moment."""

    pid: int
    kind: str
    generation: int
    """The number of times that hosts were renewed before it was started
    (`HostedExecutor.renew`)."""
    is_leaving: bool
    """True if it takes no more calls."""
    crowd: int | None
    """Its calls may share it with so many at most; None: with any number."""
    calls: Mapping[int, Any]
    """The calls that it runs, live: futures that `submit` has returned, with `is_overdue`."""


class Executor(Protocol):
    """Runs `Work` in a bounded number of slots. All methods may be called from any thread."""

    @property
    def kind(self) -> str:
        """Its key in `afterwards_executors.EXECUTORS`; `dask` for the one on a cluster."""

    @property
    def can_stop(self) -> bool:
        """True if one running call can be stopped, and no other. False only for threads."""

    def start(self) -> None:
        """Acquire threads and whatever else is needed. Call once, before `submit`.

        Raises:
            RuntimeError, OSError, MemoryError: they cannot be had now; it may be called again.
        """

    def slots(self) -> Slots:
        """The numbers of slots by state."""

    def submit(self, work: Work) -> Future[Outcome]:
        """Run `work` as soon as a slot is free and resolve the future with its outcome.

        A time-out ends the call with `End.TIMED_OUT` (transient); where the call cannot be
        stopped, its slot counts as stuck until the function returns. The clock starts when the
        function can: not while the call waits for a slot, or its child process is spawned.

        The future counts as running from the start, so `Future.cancel` always refuses; `cancel`
        below is the way. Its callbacks run in a thread of the executor, after the call's slot was
        freed: they may submit the next call, but must not block or wait for one.

        What runs out before the function begins ends the call with `End.STARVED`, its slot free as
        before; the future may then be resolved when it is returned.

        Raises:
            RuntimeError: after `shutdown`.
            MemoryError: there is not even room for the future; nothing was submitted.
        """

    def cancel(self, future: Future[Outcome], reason: str, *, by_force: bool = False) -> bool:
        """Stop a submitted call; its outcome is `End.CANCELLED` with `reason` as error.

        Does not wait: the future is resolved when the call has ended, and in any case soon. A call
        that cannot be stopped is asked to (`afterwards_executors.progress.Line.is_stop_asked`).

        Args:
            future: what `submit` of this executor returned.
            by_force: end the host of a call that cannot be stopped otherwise, and with it all
                others in it; where calls run in threads of this process, that changes nothing.

        Returns:
            False if the call cannot be stopped, is being stopped, or has ended; it then goes on, or
            keeps its outcome.
        """

    def shutdown(self, timeout_seconds: float) -> None:
        """Cancel what runs, wait up to `timeout_seconds`, and free everything.

        Every unresolved future is resolved with `End.CANCELLED`; calls that cannot be stopped have
        until the end of the time to end by themselves. They do not hold the process: their threads
        are daemons.
        """


class HostedExecutor(Executor, Protocol):
    """An executor whose calls run in hosts, processes that can be replaced."""

    def renew(self, settings: HostSettings | None = None) -> None:
        """Have further calls run in fresh hosts; those that run go on where they are.

        For some time: the calls of the third renewal before this one, and those that go on for
        longer than `HostSettings.handover_seconds`, are asked to end (`Line.is_stopping`), and
        then ended, with the outcome of a cancellation. While earlier calls hold all slots there is
        one slot more.

        Args:
            settings: for the fresh hosts; None: as before.
        """

    def hosts(self) -> Sequence[HostView]:
        """The hosts that have a process now. From any thread."""

    def wind_up(self) -> None:
        """Let all calls see that they had better end by themselves (`Line.is_stopping`)."""


ExecutorFactory = Callable[[int], Executor]
"""Makes an executor with so many slots, not started."""


class HostedFactory(Protocol):
    """Makes an executor whose calls run in hosts, not started."""

    def __call__(self, slots: int, settings: HostSettings | None = None) -> HostedExecutor:
        """With so many slots, and hosts as the settings say."""


def describe(error: BaseException) -> str:
    """An exception as one line for people: its message, or its class if it has none."""
    try:
        message = str(error).strip()
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the error it belongs to
        message = ""
    return message or type(error).__name__
