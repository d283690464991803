"""The child process that describes task modules: `python -m` this, started by `described`.

It writes lines of JSON to the descriptor that it is given: the module that it is about to import,
each time, and at last what it has found, or what is wrong. To another one it writes the code.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from afterwards.errors import ConfigurationError
from afterwards.task_types.declaration import Declaration, payload_problem
from afterwards.task_types.description import describe, encoded
from afterwards.task_types.modules import load, one_line, wrong
from afterwards.task_types.snapshot import Recorder
from afterwards_executors.prctl import end_with_parent


def main(arguments: Sequence[str]) -> None:
    """Describe the modules.

    Args:
        arguments: the descriptors to write to, the parent's pid, the names of the built-in task
            types that are on, and those of the modules.
    """
    output, code, parent, ours, *modules = arguments
    names = tuple(ours.split(",")) if ours else ()
    descriptor = int(output)
    # Whatever a module starts must not hold them.
    os.set_inheritable(descriptor, False)
    os.set_inheritable(int(code), False)
    end_with_parent(signal.SIGKILL, int(parent))
    recorder = Recorder()
    recorder.begin()
    try:
        # One more each time: those before have been imported by then.
        for number, module in enumerate(modules, 1):
            _write(descriptor, importing=module)
            load(tuple(modules[:number]), names)
        found = _described(tuple(modules), names)
        declared = _declared(tuple(modules), names)
        _write_all(int(code), recorder.recorded())
        _write(descriptor, types=found, schedules=declared)
    except ConfigurationError as error:
        _write(descriptor, setting=error.setting, problem=error.problem)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Threads that a module has started may not end by themselves.
    os._exit(0)


def _described(modules: tuple[str, ...], names: tuple[str, ...]) -> list[dict[str, Any]]:
    loaded = load(modules, names)
    found = []
    for name, module in loaded.owners.items():
        try:
            members = encoded(describe(loaded.catalogue[name], module))
            json.dumps(members, allow_nan=False)
        except Exception as error:
            problem = f"the payload of task type {name!r} has no JSON Schema: {one_line(error)}"
            raise wrong(module, problem) from error
        found.append(members)
    return found


def _declared(modules: tuple[str, ...], names: tuple[str, ...]) -> list[Declaration]:
    """The schedules that the modules declare, once their types' models have taken the payloads.

    Those of the service's own types are held against its settings, which are not here.
    """
    loaded = load(modules, names)
    found = []
    for module, schedules in loaded.schedules.items():
        for schedule in schedules:
            one = Declaration.of(schedule, module)
            if one.type in loaded.owners:
                try:
                    loaded.catalogue[one.type].payload.model_validate_json(one.payload)
                except Exception as error:
                    raise one.wrong(f"its payload: {payload_problem(error)}") from error
            found.append(one)
    return found


def _write(descriptor: int, **members: Any) -> None:
    _write_all(descriptor, json.dumps(members).encode() + b"\n")


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


if __name__ == "__main__":
    main(sys.argv[1:])
