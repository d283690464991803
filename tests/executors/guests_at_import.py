"""A module that changes its process when it is imported, as task modules may."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import warnings
from pathlib import Path

from afterwards_executors.base import End, Outcome

multiprocessing.set_start_method("spawn", force=True)
socket.setdefaulttimeout(0.001)
os.chdir("/")
os.umask(0o777)
sys.setrecursionlimit(500)
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
sys.stdout.close()
os.close(1)
with contextlib.suppress(ValueError):  # not in the main thread
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)


def succeed() -> Outcome:
    return Outcome(End.SUCCEEDED, value=Path.cwd().as_posix().encode())


def spawn() -> Outcome:
    process = multiprocessing.Process(target=abs, args=(-1,))
    process.start()
    process.join()
    return Outcome(End.SUCCEEDED, value=str(process.exitcode).encode())
