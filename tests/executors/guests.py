# ruff: noqa: ASYNC222, ASYNC240, T201 - they do what they should not
"""Calls that do to their process what is not theirs to do. Importable by name, for hosts."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import logging
import multiprocessing
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from afterwards_executors import current_line, host_end
from afterwards_executors.base import End, Outcome
from afterwards_executors.frames import HEAD, Kind
from tests.executors import work

OK = Outcome(End.SUCCEEDED, value=b"{}")


def ok(value: object) -> Outcome:
    return Outcome(End.SUCCEEDED, value=str(value).encode())


async def plainly(function: Callable[..., Outcome], *args: Any) -> Outcome:
    """Whatever a plain function does, on the event loop."""
    return function(*args)


async def awaited(function: Callable[..., Any], *args: Any) -> Outcome:
    """Whatever a coroutine function does, in the call."""
    await function(*args)
    return OK


async def in_a_subtask(function: Callable[..., Any], *args: Any) -> Outcome:
    async def run() -> None:
        function(*args)

    await asyncio.create_task(run())
    return OK


_forgotten: list[asyncio.Task[None]] = []


async def in_a_forgotten_task(function: Callable[..., Any], *args: Any) -> Outcome:
    async def run() -> None:
        await asyncio.sleep(0.01)
        function(*args)

    _forgotten.append(asyncio.create_task(run()))
    return OK


async def in_a_callback(function: Callable[..., Any], *args: Any) -> Outcome:
    asyncio.get_running_loop().call_soon(function, *args)
    await asyncio.sleep(0.01)
    return OK


def in_a_thread(function: Callable[..., Any], *args: Any) -> Outcome:
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()
    return OK


def by_name(module: str, name: str) -> Outcome:
    """Call a function of a module that is imported for it."""
    outcome = getattr(importlib.import_module(module), name)()
    assert isinstance(outcome, Outcome)
    return outcome


async def by_name_async(module: str, name: str) -> Outcome:
    return by_name(module, name)


# -- exits -----------------------------------------------------------------------------------------


def leave() -> NoReturn:
    sys.exit(3)


def leave_without_words() -> NoReturn:
    raise SystemExit


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def give_up_generating() -> NoReturn:
    raise GeneratorExit


def interrupt_the_main_thread() -> Outcome:
    os.kill(os.getpid(), signal.SIGINT)
    return OK


def exit_now() -> NoReturn:
    os._exit(3)


def abort() -> NoReturn:
    os.abort()


def kill_the_group() -> Outcome:
    os.kill(0, signal.SIGKILL)
    return OK


def run_over_the_stack() -> Outcome:
    ctypes.string_at(0)
    return OK


# -- the event loop --------------------------------------------------------------------------------


async def stop_the_loop() -> None:
    asyncio.get_running_loop().stop()


async def close_the_loop() -> None:
    try:
        asyncio.get_running_loop().close()
    except RuntimeError:
        return


async def cancel_everything() -> None:
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    await asyncio.sleep(0)


async def replace_the_factories() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(None)
    loop.set_exception_handler(lambda *_: None)
    asyncio.set_event_loop(None)


async def forget_the_wire() -> None:
    loop = asyncio.get_running_loop()
    for fd in range(3, 64):
        loop.remove_reader(fd)


def run_a_loop_of_its_own() -> Outcome:
    asyncio.run(asyncio.sleep(0.01))
    return OK


# -- blocking --------------------------------------------------------------------------------------


def sleep_long() -> Outcome:
    time.sleep(3600)
    return OK


def keep_the_interpreter() -> Outcome:
    """In C, without ever letting another thread run."""
    re.match(r"(a+)+$", "a" * 64 + "b")
    return OK


def compute_long() -> Outcome:
    return ok(bool(3 ** (2**62)))


def sleep_for(seconds: float) -> Outcome:
    time.sleep(seconds)
    return OK


def delay_and_wait(path: str) -> Outcome:
    """Say when it wants another try, and wait for longer than it may."""
    line = current_line()
    assert line is not None
    line.time_out_delay(12.5)
    return work.wait_for(path)


async def delay_and_wait_async(path: str) -> Outcome:
    line = current_line()
    assert line is not None
    line.time_out_delay(12.5)
    return await work.wait_for_async(path)


def spin() -> Outcome:
    while True:
        pass


# -- signals ---------------------------------------------------------------------------------------


def ignore_signals() -> Outcome:
    """As far as this thread may."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        try:
            signal.signal(number, signal.SIG_IGN)
        except ValueError:
            signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    return OK


def default_signals() -> Outcome:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        try:
            signal.signal(number, signal.SIG_DFL)
        except ValueError:
            break
    return OK


def arm_a_timer() -> Outcome:
    """An alarm rings, and what it calls raises, when other calls run."""
    try:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
    except ValueError:
        return OK
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    return OK


# -- processes -------------------------------------------------------------------------------------


def fork_and_come_back() -> Outcome:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return ok("fork" if pid == 0 else "parent")


async def fork_and_go_on(path: str) -> Outcome:
    """The fork gives way to the event loop, as if it were the call."""
    pid = os.fork()
    await asyncio.sleep(0.01)
    Path(path + f".{'parent' if pid else 'fork'}").touch()
    if pid:
        os.waitpid(pid, 0)
    return OK


def fork_and_leave_it() -> Outcome:
    if os.fork() == 0:
        time.sleep(3600)
    return OK


def use_a_pool() -> Outcome:
    with multiprocessing.Pool(2) as pool:
        return ok(pool.map(abs, range(-3, 0)))


def terminate_a_process() -> Outcome:
    process = multiprocessing.Process(target=time.sleep, args=(3600,))
    process.start()
    process.terminate()
    process.join()
    return ok(process.exitcode)


_kept: list[ProcessPoolExecutor] = []


def use_a_kept_pool() -> Outcome:
    if not _kept:
        _kept.append(ProcessPoolExecutor(2))
    return ok(list(_kept[0].map(abs, range(-3, 0))))


def set_the_start_method() -> Outcome:
    multiprocessing.set_start_method("spawn", force=True)
    return terminate_a_process()


def leave_a_program(path: str, how: str = "setsid") -> Outcome:
    """One that stays, in a session of its own, as a daemon would: its parent is gone."""
    script = f"{how} sh -c 'echo $$ > {path}.pid; exec sleep 3600' &"
    subprocess.run(["sh", "-c", script], check=True)
    while not Path(path + ".pid").exists() or not Path(path + ".pid").read_text():
        time.sleep(0.002)
    return OK


def leave_a_program_that_ends() -> Outcome:
    """Its parent is gone, and so it is by the time that this returns."""
    subprocess.run(["sh", "-c", "setsid true &"], check=True)
    time.sleep(0.05)
    return OK


# -- what a process has once -----------------------------------------------------------------------


def set_a_default_timeout() -> Outcome:
    socket.setdefaulttimeout(0.001)
    return OK


def go_elsewhere() -> Outcome:
    os.chdir("/")
    return OK


def go_where_nothing_is(path: str) -> Outcome:
    Path(path).mkdir()
    os.chdir(path)
    Path(path).rmdir()
    return OK


def mask_everything() -> Outcome:
    os.umask(0o777)
    return OK


def empty_the_environment() -> Outcome:
    os.environ.clear()
    sys.path.clear()
    return OK


def report_variable(name: str) -> Outcome:
    return ok(os.environ.get(name))


def close_the_streams() -> Outcome:
    sys.stdout.close()
    sys.stderr.close()
    sys.stdin.close()
    return OK


def lose_the_streams() -> Outcome:
    sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None  # type: ignore[misc] # the last two are constants for mypy
    return OK


def close_the_descriptors() -> Outcome:
    for fd in range(3):
        os.close(fd)
    return OK


def report_the_surroundings() -> Outcome:
    mask = os.umask(0o22)
    os.umask(mask)
    there = [os.path.exists(f"/proc/self/fd/{fd}") for fd in range(3)]  # noqa: PTH110 - a number, not a path of anybody's
    return ok((Path.cwd().as_posix(), mask, socket.getdefaulttimeout(), there))


# -- too much --------------------------------------------------------------------------------------


def print_some() -> Outcome:
    print("one")
    print("two", end="")
    print(flush=True)
    sys.stdout.write("three")
    return OK


def starve() -> Outcome:
    return Outcome(End.STARVED, error="no descriptors", transient=True)


def print_megabytes() -> Outcome:
    for _ in range(3_000):
        print("x" * 1_000)
        sys.stderr.write("y" * 1_000)
    logging.getLogger("guest").error("z" * 1_000_000)
    return OK


def write_megabytes() -> Outcome:
    for _ in range(100):
        os.write(1, b"x" * 50_000 + b"\n")
        os.write(2, b"y" * 1_000)
    return OK


def write_megabytes_elsewhere() -> Outcome:
    subprocess.run([sys.executable, "-c", "print('x' * 5_000_000)"], check=True)
    return OK


def answer_too_much(size: int) -> Outcome:
    return Outcome(End.SUCCEEDED, value=b"x" * size)


def fail_with_too_many_words(size: int) -> Outcome:
    raise ValueError("x" * size)


_leaked: list[Any] = []


def leak_descriptors() -> Outcome:
    """All there are."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    while True:
        try:
            _leaked.append(os.dup(0))
        except OSError:
            return OK


def leak_threads() -> Outcome:
    for _ in range(100):
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    return OK


def leak_memory(size: int) -> Outcome:
    _leaked.append(b"x" * size)
    return OK


def break_a_thread() -> Outcome:
    """Its thread ends by an exception that nobody catches."""
    return in_a_thread(leave)


def announce_a_frame_of(size: int) -> Outcome:
    for fd in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, HEAD.pack(size, Kind.PROGRESS, 1))
    return OK


# -- at the end of a host --------------------------------------------------------------------------


def note_the_end(path: str) -> Outcome:
    host_end.at_end(Path(path).touch)
    return OK


async def note_the_end_async(path: str) -> Outcome:
    async def end() -> None:
        await asyncio.sleep(0)
        Path(path).touch()

    host_end.at_end(end)
    return OK
