"""The web worker: uvicorn under gunicorn, with an exit that drops no request.

What it changes of uvicorn's own worker, and why, is in `docs/decisions/0004-worker-class.md`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from typing import Any, Final, NoReturn

from gunicorn.arbiter import Arbiter
from uvicorn import Config, Server
from uvicorn_worker import UvicornWorker

from afterwards.logs import get_logger
from afterwards.server.admission import AdmittedHttpProtocol
from afterwards.server.connections import Connections
from afterwards.server.http_protocol import BoundedHttpProtocol, is_busy
from afterwards.system.gc_tuning import spare_the_loaded
from afterwards_executors.prctl import end_with_parent

log = get_logger(__name__)

IDLE_SECONDS: Final = 1.0
"""The time for which an exit waits for idle connections. A client that uses one within that time is
answered and told `connection: close`; closing it at once would cut off a request already under
way."""

REQUEST_DRAIN_SECONDS: Final = 5.0
"""The time for which an exit waits for requests that are being answered; then they are
cancelled."""

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
"""SIGHUP, because a terminal that is closed sends it to the workers, too, and its default meaning
would end them with whatever they run."""

HELD_SIGNALS: Final = (*STOP_SIGNALS, signal.SIGUSR1, signal.SIGUSR2)
"""Signals a worker is forked with blocked, until it has its own meanings for them."""

_BEAT_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.05


class DrainingServer(Server):
    """A uvicorn server that, told to stop, first lets its connections end.

    Args:
        on_start: called once, in the event loop, as soon as it serves.
        on_stop: called once, in the event loop, as soon as a stop signal arrives.
    """

    def __init__(
        self, config: Config, *, on_start: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._on_stop = on_stop
        self._stop = asyncio.Event()
        self._hurry = False

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop on any of `STOP_SIGNALS`; not passed on afterwards, as uvicorn does by itself."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._asked_to_stop, number)
        yield

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self.should_exit:
            # The master's quick shutdown, after a second Ctrl-C. A repeated SIGTERM or SIGINT is
            # only the terminal and the master both passing on the first one.
            self._hurry = self._hurry or number == signal.SIGQUIT
            return
        self.should_exit = True
        self._stop.set()
        self._on_stop()

    async def startup(self, sockets: Any = None) -> None:
        """Start the application, then listen."""
        await super().startup(sockets)
        self._on_start()

    async def main_loop(self) -> None:
        """Serve until a stop signal. Notices it at once, where the base class polls."""
        tick = 0
        while not await self.on_tick(tick):
            tick += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), timeout=0.1)

    async def shutdown(self, sockets: Any = None) -> None:
        """Close the listeners, let the connections end, then shut down as uvicorn does."""
        self._close_listeners()
        began = asyncio.get_running_loop().time()
        await self._drain(began)
        spent = asyncio.get_running_loop().time() - began
        left = 0.0 if self._hurry else REQUEST_DRAIN_SECONDS - spent
        self.config.timeout_graceful_shutdown = max(1, math.ceil(left))
        await super().shutdown()

    def _close_listeners(self) -> None:
        for server in self.servers:
            server.close()
        # uvicorn closes a connection after an answer with this header. Requests that have begun
        # hold the list of an earlier tick.
        closing = [*self.server_state.default_headers, (b"connection", b"close")]
        self.server_state.default_headers = closing
        for connection in self.server_state.connections:
            if isinstance(connection, BoundedHttpProtocol):
                connection.hasten()
                if connection.cycle is not None:
                    connection.cycle.default_headers = closing

    async def _drain(self, began: float) -> None:
        loop = asyncio.get_running_loop()
        busy_at = began
        while self.server_state.connections and not self._hurry:
            now = loop.time()
            if any(is_busy(connection) for connection in self.server_state.connections):
                busy_at = now
            if now - busy_at >= IDLE_SECONDS or now - began >= REQUEST_DRAIN_SECONDS:
                return
            await asyncio.sleep(_POLL_SECONDS)


class DrainingUvicornWorker(UvicornWorker):  # type: ignore[misc] # has no types
    """gunicorn's worker: `DrainingServer`, a steady heartbeat, and an end with the master's.

    An application whose `state` has a callable `begin_drain` is told by it that the process is
    about to stop, before its connections are; it must be quick and not raise.
    """

    CONFIG_KWARGS: Final = {
        "loop": "uvloop",
        "ws": "none",
        # "auto" takes a start that fails for an application without a lifespan.
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
        # Of a trusted proxy only: `_serve`.
        "proxy_headers": False,
        "callback_notify": None,
    }

    def init_process(self) -> None:
        """Tie this process' life to the master's, then run."""
        # Sent before the signals are unblocked, it ends this process as soon as they are.
        end_with_parent(signal.SIGTERM, self.ppid)
        super().init_process()

    def init_signals(self) -> None:
        """Default meanings until the server runs. The master forks with the signals blocked."""
        super().init_signals()
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        # Not SIG_IGN, which programs that a task executes would inherit.
        signal.signal(signal.SIGUSR2, lambda *_: None)
        signal.siginterrupt(signal.SIGUSR2, False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        # gunicorn's names for them; it has no use of its own for either in a worker like this.
        proxies = self.cfg.forwarded_allow_ips
        connections = Connections(self.cfg.worker_connections, proxies)
        # The client is whom a trusted proxy names. Without one no request pays for the look.
        self.config.proxy_headers = bool(proxies)
        self.config.http = functools.partial(AdmittedHttpProtocol, connections=connections)
        server = DrainingServer(
            self.config, on_start=self._start_beating, on_stop=self._begin_drain
        )
        # The bare sockets: what gunicorn wraps around them makes uvloop close each twice.
        await server.serve(sockets=[listener.sock for listener in self.sockets])
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def _start_beating(self) -> None:
        # Not before it serves: the first beat tells the master that this worker can take over.
        spare_the_loaded()
        self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        # Not from uvicorn's main loop: that ends where the exit begins, and the master would take
        # a worker whose tasks use their grace for one that hangs.
        while True:
            self.notify()
            await asyncio.sleep(_BEAT_SECONDS)

    def has_beaten(self) -> bool:
        """True if it serves; asked by the master.

        A new heartbeat file bears the wall clock's time, and each beat the monotonic clock's.
        """
        return bool(self.tmp.last_update() <= time.monotonic())

    def _begin_drain(self) -> None:
        # The master kills who does not end in time; without a master the kernel has to.
        signal.alarm(self.cfg.graceful_timeout + 1)
        log.info("worker stops; it takes no more tasks and finishes what runs", pid=self.pid)
        begin_drain = getattr(getattr(self.wsgi, "state", None), "begin_drain", None)
        if begin_drain is not None:
            begin_drain()


def leave(status: int) -> NoReturn:
    """End a forked worker, without the exit handlers it has inherited.

    Those are the master's: they would look after children that are not this process' own, and wait
    for threads that may be stuck. What has to happen at the end belongs in the lifespan.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    logging.shutdown()
    os._exit(status)
