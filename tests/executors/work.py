# ruff: noqa: ASYNC110, ASYNC230, ASYNC240 - a file is the one event that every kind of executor can wait for
"""Functions for executors to run. Importable by name, because spawned children do just that."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, NoReturn

import afterwards_executors
from afterwards_executors.base import End, Outcome
from afterwards_executors.frames import NUMBER, Kind, frame
from afterwards_executors.progress import MAX_PROGRESS_BYTES, Line

_bound: Final = ContextVar[str]("bound")

OK = Outcome(End.SUCCEEDED, value=b"{}")


class TwoArgumentError(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


# -- plain functions -------------------------------------------------------------------------------


def succeed(value: bytes = b"{}") -> Outcome:
    return Outcome(End.SUCCEEDED, value=value)


def measure_itself() -> Outcome:
    return Outcome(End.SUCCEEDED, value=b"{}", run_seconds=123.0)


def fail_transiently() -> Outcome:
    return Outcome(
        End.FAILED,
        error="half a pair: \ud800",
        transient=True,
        run_seconds=1.5,
        retry_in_seconds=0.25,
    )


def raise_error(name: str) -> NoReturn:
    errors: dict[str, BaseException] = {
        "ValueError": ValueError("wrong"),
        "TwoArgumentError": TwoArgumentError("one", "two"),
        "MuteError": MuteError(),
        "SystemExit": SystemExit(3),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "GeneratorExit": GeneratorExit(),
    }
    raise errors[name]


def return_something_else() -> int:
    return 5


def wait_for(path: str) -> Outcome:
    """Say that it runs, and succeed when the file is there."""
    Path(path + ".running").touch()
    while not Path(path).exists():
        time.sleep(0.002)
    return OK


def bind(name: str) -> Outcome:
    """The name that the previous call on this slot left bound, after which `name` is bound."""
    before = _bound.get("nothing")
    _bound.set(name)
    return Outcome(End.SUCCEEDED, value=before.encode())


# -- coroutine functions: the same -----------------------------------------------------------------


async def succeed_async(value: bytes = b"{}") -> Outcome:
    return succeed(value)


async def measure_itself_async() -> Outcome:
    return measure_itself()


async def fail_transiently_async() -> Outcome:
    return fail_transiently()


async def raise_error_async(name: str) -> NoReturn:
    raise_error(name)


async def return_something_else_async() -> int:
    return return_something_else()


async def wait_for_async(path: str) -> Outcome:
    Path(path + ".running").touch()
    while not Path(path).exists():
        await asyncio.sleep(0.002)
    return OK


async def bind_async(name: str) -> Outcome:
    return bind(name)


async def count_all_the_while_async(path: str) -> Outcome:
    """Write down which process runs it, again and again."""
    Path(path + ".running").touch()
    while not Path(path).exists():
        with Path(path + ".count").open("a", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        await asyncio.sleep(0)
    return OK


async def report_pid_async() -> Outcome:
    return report_pid()


# -- async only ------------------------------------------------------------------------------------


async def swallow_cancellation(path: str) -> Outcome:
    Path(path + ".running").touch()
    while not Path(path).exists():
        try:
            await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            Path(path + ".swallowed").touch()
    return OK


async def clean_up_slowly(path: str) -> Outcome:
    try:
        return await wait_for_async(path)
    except asyncio.CancelledError:
        await asyncio.sleep(0.05)
        Path(path + ".cleaned").touch()
        raise


async def cancel_itself() -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(10)
    return OK


async def block_the_loop(path: str) -> Outcome:
    return wait_for(path)


_strays: set[asyncio.Task[None]] = set()


async def leave_a_stray() -> Outcome:
    _strays.add(asyncio.create_task(asyncio.sleep(3600)))
    return OK


async def call_plainly(function: Callable[..., Outcome], *args: Any) -> Outcome:
    """Whatever a plain function does, on the event loop."""
    return function(*args)


async def call_aside(function: Callable[..., Outcome], *args: Any) -> Outcome:
    return await asyncio.to_thread(function, *args)


# -- hosts only ------------------------------------------------------------------------------------


def report_pid() -> Outcome:
    return Outcome(End.SUCCEEDED, value=str(os.getpid()).encode())


def exit_at_once(status: int) -> Outcome:
    os._exit(status)


def kill_itself(number: int) -> Outcome:
    os.kill(os.getpid(), number)
    signal.pause()
    return OK


def read_address_zero() -> Outcome:
    ctypes.string_at(0)
    return OK


def ignore_sigterm(path: str) -> Outcome:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return wait_for(path)


def write_pid_and_wait(path: str) -> Outcome:
    Path(path + ".pid").write_text(str(os.getpid()), encoding="ascii")
    return wait_for(path)


def count_and_wait(path: str) -> Outcome:
    with Path(path + ".count").open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    return wait_for(path)


def wait_until_stopping(path: str) -> Outcome:
    Path(path + ".running").touch()
    while not _line().is_stopping:
        time.sleep(0.01)
    return OK


_remembered: list[str] = []


def remember(word: str) -> None:
    """Have `remembered` know a word; for the preparation of a host."""
    _remembered.append(word)


def remembered() -> Outcome:
    """The words that this host was prepared with, and the one in its file."""
    written = Path(os.environ["WORD_FILE"]).read_text(encoding="ascii")
    return Outcome(End.SUCCEEDED, value=" ".join([*_remembered, written]).encode())


def variables() -> Outcome:
    """The names of this host's variables."""
    return Outcome(End.SUCCEEDED, value=" ".join(os.environ).encode())


def succeed_if_gone(pid: int) -> Outcome:
    """Succeed unless this process, or a zombie of it, is there."""
    return Outcome(End.FAILED, error="it is there") if Path(f"/proc/{pid}").exists() else OK


def start_a_sleeper(path: str) -> Outcome:
    """Leave a forked process that holds every descriptor of this one, then wait."""
    pid = os.fork()
    if pid == 0:
        time.sleep(3600)
        os._exit(0)
    Path(path + ".pid").write_text(str(pid), encoding="ascii")
    return wait_for(path)


def start_a_sleeper_and_die(path: str) -> Outcome:
    pid = os.fork()
    if pid == 0:
        time.sleep(3600)
        os._exit(0)
    Path(path + ".pid").write_text(str(pid), encoding="ascii")
    os._exit(3)


def fork_and_return_twice() -> Outcome:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return Outcome(End.SUCCEEDED, value=b"parent" if pid else b"fork")


def is_socket(fd: int) -> bool:
    return stat.S_ISSOCK(os.fstat(fd).st_mode)


def scribble(data: bytes) -> Outcome:
    """Write into every socket of this process, as a stray library might."""
    for fd in range(3, 64):
        try:
            if is_socket(fd):
                os.write(fd, data)
        except OSError:
            continue
    return OK


def close_sockets_and_return() -> Outcome:
    for fd in range(3, 64):
        try:
            if is_socket(fd):
                os.close(fd)
        except OSError:
            continue
    return OK


def close_sockets() -> Outcome:
    close_sockets_and_return()
    signal.pause()
    return OK


def return_a_wrong_outcome() -> Outcome:
    value: Any = 5
    return Outcome(End.SUCCEEDED, value=value)


def terminate_a_fork() -> Outcome:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    os.kill(pid, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Outcome(End.SUCCEEDED, value=str(status).encode())


def terminate_a_program() -> Outcome:
    program = subprocess.Popen(["sleep", "3600"])
    program.terminate()
    return Outcome(End.SUCCEEDED, value=str(program.wait()).encode())


def loaded_modules() -> Outcome:
    return Outcome(End.SUCCEEDED, value="\n".join(sys.modules).encode())


def thread_name() -> Outcome:
    return Outcome(End.SUCCEEDED, value=threading.current_thread().name.encode())


def take(argument: object) -> Outcome:
    return OK


# -- progress --------------------------------------------------------------------------------------


def progress_and_wait(path: str, *progress: bytes) -> Outcome:
    """Send everything in quick succession, then wait."""
    for data in progress:
        afterwards_executors.send_progress(data)
    return wait_for(path)


async def progress_and_wait_async(path: str, *progress: bytes) -> Outcome:
    for data in progress:
        afterwards_executors.send_progress(data)
    return await wait_for_async(path)


def progress_and_end(*progress: bytes) -> Outcome:
    for data in progress:
        afterwards_executors.send_progress(data)
    return OK


async def progress_and_end_async(*progress: bytes) -> Outcome:
    return progress_and_end(*progress)


def note_too_much() -> Outcome:
    afterwards_executors.send_progress(b"x" * (MAX_PROGRESS_BYTES + 1))
    return OK


async def note_too_much_async() -> Outcome:
    return note_too_much()


def progress_from_a_thread(path: str) -> Outcome:
    line = afterwards_executors.current_line()
    assert line is not None
    thread = threading.Thread(target=line.send_progress, args=[b"from a thread"])
    thread.start()
    thread.join()
    return wait_for(path)


async def progress_from_a_thread_async(path: str) -> Outcome:
    await asyncio.to_thread(afterwards_executors.send_progress, b"from a thread")
    return await wait_for_async(path)


def progress_all_the_while(path: str) -> Outcome:
    """From four threads, until the file is there; then return a large value."""
    line = afterwards_executors.current_line()
    assert line is not None

    def flood() -> None:
        while not is_over.is_set():
            line.send_progress(b"n" * 1000)

    is_over = threading.Event()
    threads = [threading.Thread(target=flood, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(path)

    def end() -> None:
        is_over.set()
        for thread in threads:
            thread.join()
        Path(path + ".over").touch()

    # They go on beyond this call's end.
    threading.Timer(0.3, end).start()
    return Outcome(End.SUCCEEDED, value=b"v" * 3_000_000)


async def progress_all_the_while_async(path: str) -> Outcome:
    return await asyncio.to_thread(progress_all_the_while, path)


def stop_when_asked(path: str) -> Outcome:
    line = afterwards_executors.current_line()
    assert line is not None
    Path(path + ".running").touch()
    while not line.is_stop_asked:
        time.sleep(0.002)
    return Outcome(End.CANCELLED, error="as asked")


def write_progress_by_hand(path: str) -> Outcome:
    """Fill the pipe with progress without end, as no line would."""
    Path(path + ".running").touch()
    data = frame(Kind.PROGRESS, 1, b"x") * 10_000
    while not Path(path).exists():
        for fd in range(3, 64):
            try:
                if is_socket(fd):
                    os.write(fd, data)
            except OSError:
                continue
    return OK


async def write_progress_by_hand_async(path: str) -> Outcome:
    Path(path + ".running").touch()
    data = frame(Kind.PROGRESS, 1, b"x") * 100
    while not Path(path).exists():
        for fd in range(3, 64):
            with suppress(OSError):
                if is_socket(fd):
                    os.write(fd, data)
        await asyncio.sleep(0)
    return OK


def progress_from_a_fork(path: str) -> Outcome:
    pid = os.fork()
    if pid == 0:
        afterwards_executors.send_progress(b"from a fork")
        os._exit(0)
    os.waitpid(pid, 0)
    return progress_and_wait(path, b"from the child")


# -- questions ------------------------------------------------------------------------------------


def _line() -> Line:
    line = afterwards_executors.current_line()
    assert line is not None
    return line


def ask_one_by_one(*questions: bytes) -> Outcome:
    line = _line()
    answers = [line.wait_for(line.ask(question)) for question in questions]
    return Outcome(End.SUCCEEDED, value=b" ".join(answers))


async def ask_one_by_one_async(*questions: bytes) -> Outcome:
    line = _line()
    answers = [await asyncio.wrap_future(line.ask(question)) for question in questions]
    return Outcome(End.SUCCEEDED, value=b" ".join(answers))


def ask_at_once(*questions: bytes) -> Outcome:
    """Each in a thread of its own."""
    line = _line()
    with ThreadPoolExecutor(len(questions)) as threads:
        answers = list(threads.map(lambda data: line.wait_for(line.ask(data)), questions))
    return Outcome(End.SUCCEEDED, value=b" ".join(answers))


async def ask_at_once_async(*questions: bytes) -> Outcome:
    line = _line()
    asked = [asyncio.wrap_future(line.ask(question)) for question in questions]
    return Outcome(End.SUCCEEDED, value=b" ".join(await asyncio.gather(*asked)))


def tell(*data: bytes) -> Outcome:
    for one in data:
        _line().tell(one)
    return OK


async def tell_async(*data: bytes) -> Outcome:
    return tell(*data)


def leave_a_question() -> Outcome:
    """A thread waits for an answer that does not come before the call is over."""
    line = _line()
    threading.Thread(target=lambda: line.wait_for(line.ask(b"?")), daemon=True).start()
    return OK


async def leave_a_question_async() -> Outcome:
    return leave_a_question()


def tell_too_much(size: int) -> Outcome:
    _line().tell(b"x" * size)
    return OK


async def tell_too_much_async(size: int) -> Outcome:
    return tell_too_much(size)


def flood_with_questions(number: int) -> Outcome:
    """Past what the line allows."""
    wire: Any = getattr(_line(), "_wire")  # noqa: B009 - it is none of a call's business
    call = getattr(_line(), "number")  # noqa: B009 - see above
    for one in range(1, number + 1):
        wire.send(frame(Kind.ASKED, call, NUMBER.pack(one)))
    time.sleep(60)
    return OK
