"""A host's main program."""

from __future__ import annotations

import pickle
import socket
import sys
import traceback

from afterwards_executors import this_host
from afterwards_executors.board import Pen
from afterwards_executors.frames import Kind, Setup, decode_call
from afterwards_executors.host_end import run_callbacks
from afterwards_executors.inside import streams, surroundings
from afterwards_executors.inside.wire import Wire


def main() -> None:
    """Run calls until the wire ends or says so."""
    wire = Wire(socket.socket(fileno=int(sys.argv[1])), Pen(int(sys.argv[2])))
    first = wire.receive()
    if first is None or first.kind != Kind.SETUP:
        return
    setup: Setup = pickle.loads(first.body)  # noqa: S301 - the words of whoever started this
    sys.path[:] = setup.sys_path
    wire.max_frame_bytes = setup.max_frame_bytes
    surroundings.settle_in(setup.parent, wire)
    this_host.settle(setup.kind, streams.replace(wire, is_terminal=setup.is_terminal))
    if setup.prepare is not None:
        _prepare(setup.prepare)
    # Each imports what it needs: a host for processes has no use for an event loop.
    if setup.kind == "async":
        from afterwards_executors.inside.coroutines import serve  # noqa: PLC0415 - see above
    elif setup.kind == "thread":
        from afterwards_executors.inside.threads import serve  # noqa: PLC0415 - see above
    elif setup.kind == "dask":
        from afterwards_executors.cluster.host import serve  # noqa: PLC0415 - see above
    else:
        from afterwards_executors.inside.single import serve  # noqa: PLC0415 - see above
    try:
        serve(wire, setup)
        run_callbacks()
    except (BrokenPipeError, ConnectionResetError):
        return  # whom it works for has closed its end, or is gone


def _prepare(call: bytes) -> None:
    try:
        function, args = decode_call(call)
        function(*args)
    except BaseException:  # noqa: BLE001 - it runs foreign code, and each call says so itself
        traceback.print_exc()


if __name__ == "__main__":
    main()
