"""Has task modules described by a child process, so that this one does not import them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from afterwards.effects.settings import NO_EFFECTS, EffectSettings
from afterwards.errors import ConfigurationError
from afterwards.setting_sources import variable
from afterwards.system.child_environment import child_environment
from afterwards.task_types import built_in
from afterwards.task_types.declaration import Declaration, require_declarable
from afterwards.task_types.declaration import decoded as declarations
from afterwards.task_types.description import MAX_BYTES, Catalogue, decoded, in_process
from afterwards.task_types.modules import wrong

TIMEOUT_SECONDS: Final = 60.0
"""The time in which the modules have to be imported and described."""

_END_SECONDS: Final = 5.0
_CHUNK_BYTES: Final = 64 * 1024


class Described(NamedTuple):
    """The description of task modules as they are on the disk."""

    catalogue: Catalogue
    """The built-in task types and those of the modules, by their names."""
    code: bytes = b""
    """For `snapshot.CodeFile`."""
    schedules: Sequence[Declaration] = ()
    """The schedules that the modules declare."""


def described(
    modules: tuple[str, ...],
    names: tuple[str, ...] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    *,
    effects: EffectSettings = NO_EFFECTS,
    has_cluster: bool = True,
) -> Described:
    """Have `modules` described, beside the built-in task types of these names. Blocks.

    The modules are imported by a fresh interpreter; what they print goes where this process'
    output does. Nothing of the child is left afterwards.

    Args:
        effects: the settings that the payloads of schedules of built-in types are held against.
        has_cluster: there is a Dask cluster for types that need one.

    Raises:
        ConfigurationError: one cannot be imported or has no task type, or two have the same name;
            a schedule is wrong; or the modules take too long, end their process, have too much
            to say, or need a cluster that is not there.
        OSError: no process can be started.
    """
    ours = in_process(built_in(names))
    if not modules:
        return Described(ours)
    found, code = _ask(modules, tuple(ours), timeout_seconds)
    if "problem" in found:
        raise ConfigurationError(str(found["setting"]), str(found["problem"]))
    own = [decoded(members) for members in found["types"]]
    for one in own:
        if one.executor == "dask" and not has_cluster:
            setting = variable("dask_scheduler")
            problem = f"its task type {one.name!r} needs a Dask cluster: set {setting}"
            raise wrong(str(one.module), problem)
    catalogue = MappingProxyType({**ours, **{one.name: one for one in own}})
    schedules = declarations(found["schedules"])
    require_declarable(schedules, catalogue, effects)
    return Described(catalogue, code, schedules)


def _ask(
    modules: tuple[str, ...], names: tuple[str, ...], timeout_seconds: float
) -> tuple[dict[str, Any], bytes]:
    """The last line that the child has written, and the code. Raises `ConfigurationError`."""
    deadline = monotonic() + timeout_seconds
    importing = modules[0]
    with _child(modules, names) as child:
        for line in child.lines(deadline):
            members: dict[str, Any] = json.loads(line)
            if "importing" not in members:
                return members, child.code()
            importing = members["importing"]
        if child.said > MAX_BYTES:
            raise wrong(importing, f"its task types have more than {MAX_BYTES} bytes to say")
        if monotonic() >= deadline:
            raise wrong(importing, f"was not imported within {timeout_seconds:g} s")
        raise wrong(importing, f"ended its process, which {child.end(deadline)}")


class _Child:
    """The process that describes, from its start to its end."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: int, code: int) -> None:
        self._process = process
        self._pipe = pipe
        self._code = code
        self.said = 0

    def lines(self, deadline: float) -> Iterator[bytes]:
        """The lines that it writes, until it ends, says too much, or its time is up."""
        rest = b""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        while self.said <= MAX_BYTES and (left := deadline - monotonic()) > 0:
            if not poll.poll(left * 1000 + 1):
                return
            part = os.read(self._pipe, _CHUNK_BYTES)
            if not part:
                return
            self.said += len(part)
            *whole, rest = (rest + part).split(b"\n")
            yield from whole

    def code(self) -> bytes:
        """The code of the modules, once it has been said of them what they have."""
        return os.pread(self._code, os.fstat(self._code).st_size, 0)

    def end(self, deadline: float) -> str:
        """The end of the process, in words; it is killed if it does not end."""
        # Not `Popen.wait`: the group of a leader that is reaped may be somebody else's.
        self._wait(min(_END_SECONDS, deadline - monotonic()))
        self.kill()
        status = self._process.returncode
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"exited with status {status}"

    def kill(self) -> None:
        """End it, with all that it has started, and reap it."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _wait(self, seconds: float) -> None:
        death = os.pidfd_open(self._process.pid)
        try:
            poll = select.poll()
            poll.register(death, select.POLLIN)
            poll.poll(max(0.0, seconds) * 1000)
        finally:
            os.close(death)


@contextmanager
def _child(modules: tuple[str, ...], names: tuple[str, ...]) -> Iterator[_Child]:
    code = os.memfd_create("task-code")
    try:
        ours, theirs = os.pipe()
    except OSError:
        os.close(code)
        raise
    try:
        command = [sys.executable, "-P", "-m", "afterwards.task_types.describer"]
        process = subprocess.Popen(
            [*command, str(theirs), str(code), str(os.getpid()), ",".join(names), *modules],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs, code],
            env=child_environment(),
            # Kills reach what the modules start, and a Ctrl-C is this process' alone.
            process_group=0,
        )
        child = _Child(process, ours, code)
        os.close(theirs)
        theirs = -1
        try:
            yield child
        finally:
            child.kill()
    finally:
        os.close(ours)
        os.close(code)
        if theirs >= 0:
            os.close(theirs)
