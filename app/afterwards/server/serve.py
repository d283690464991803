"""`afterwards serve`: the gunicorn master, its web workers and the registry process.

The master starts the registry before the workers, keeps it running, and stops it after them. It
serves nothing and holds no connection to the registry.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import socket
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from afterwards.cluster import require_cluster
from afterwards.database import require_database
from afterwards.logs import configure, get_logger
from afterwards.server.descriptors import connections_that_fit, raise_limit
from afterwards.server.exposure import require_keys_in_public
from afterwards.server.generations import Generations
from afterwards.server.listener import Address, handed_in, listen
from afterwards.server.reload import ReloadFile
from afterwards.server.service_manager import ServiceManager
from afterwards.server.sources import Sources
from afterwards.server.supervisor import RegistryProcess, Supervisor
from afterwards.server.worker import IDLE_SECONDS, REQUEST_DRAIN_SECONDS, DrainingUvicornWorker
from afterwards.setting_sources import ENV_FILE
from afterwards.settings import Settings, unknown_variables
from afterwards.system.directories import prepare_directories, require_temporary_directory
from afterwards.system.gc_tuning import share_the_loaded
from afterwards.system.notify_socket import NotifySocket
from afterwards.task_types.generations import News, packed, summary
from afterwards.traces.base import require_packages

log = get_logger(__name__)

HEARTBEAT_TIMEOUT_SECONDS: Final = 30
"""A worker whose event loop is blocked for so long is killed and replaced."""

KEEP_ALIVE_SECONDS: Final = 65
"""Longer than the 60 s after which common load balancers close idle connections: the side that
sends the requests should be the one to close."""

_MARGIN_SECONDS: Final = 10.0
"""For the lifespan beyond the grace: stopping the executors and sending the last reports."""


def serve(settings: Settings, *, watches_files: bool = False) -> None:
    """Run the service until it is told to stop; leaves by `SystemExit`.

    Args:
        watches_files: the task code is renewed as soon as a file of it has changed.

    Raises:
        ConfigurationError: the address, a directory or a module of task types cannot be used.
        AfterwardsError: the registry cannot start.
    """
    configure(settings.log_level, settings.log_format)
    for message in unknown_variables():
        log.warning(message)
    # Before any child inherits them.
    manager = ServiceManager(NotifySocket.handed_in())
    listener = handed_in()
    if is_handed_in := listener is not None:
        settings = _listening_at(settings, Address.of(listener))
    require_keys_in_public(settings)
    # Imported here once, for all workers; the application itself is made in each.
    assembly = importlib.import_module("afterwards.assembly")
    importlib.import_module("afterwards.main")
    first = _require_startable(settings)
    listener = listener or listen(settings)
    registry = _registry(settings)
    generations = Generations(
        first,
        lambda: packed(assembly.describe_types(settings)),
        summary,
        # The manager first: it knows of the end by when `afterwards reload` does.
        [manager, ReloadFile(settings.data_dir)],
    )
    web = WebApplication(settings, generations, listener, registry)
    assembly.announce_mail(settings)
    share_the_loaded()
    Supervisor(
        web,
        registry,
        generations,
        manager,
        sources=Sources(settings.task_modules, [Path(ENV_FILE)]) if watches_files else None,
        keeps_listener=is_handed_in,
        only_worker=settings.registry == "memory",
    ).run()


def _require_startable(settings: Settings) -> bytes:
    """The task types, packed, if all that workers inherit is there and right.

    Raises:
        ConfigurationError: it is not; nothing has started.
    """
    require_temporary_directory()
    require_packages(settings.name_of("otlp_endpoint"), settings.otlp_endpoint)
    # Read here once, and kept.
    _ = settings.effects
    require_cluster(settings)
    require_database(settings)
    types = packed(importlib.import_module("afterwards.assembly").describe_types(settings))
    prepare_directories(settings)
    return types


def _registry(settings: Settings) -> RegistryProcess | None:
    """The registry process, not started; None: each worker is its own way to the registry."""
    if settings.in_database:
        return None
    if settings.registry == "memory":
        log.warning("memory registry: nothing outlives this process")
        return None
    assembly = importlib.import_module("afterwards.assembly")
    process = importlib.import_module("afterwards.registry.process.supervised")
    registry: RegistryProcess = process.RegistryProcess(assembly.registry_config(settings))
    return registry


def _listening_at(settings: Settings, address: Address) -> Settings:
    log.info("listening socket was handed in; AFTERWARDS_BIND is not used", address=str(address))
    return settings.model_copy(update={"bind": address.setting})


def _new_service() -> str:
    # Imported for a database alone: the registry process names its service itself.
    access = importlib.import_module("afterwards.registry.process.access")
    name: str = access.new_service()
    return name


class WebApplication(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's view of the service: its configuration, and the application each worker makes."""

    def __init__(
        self,
        settings: Settings,
        generations: Generations,
        listener: socket.socket,
        registry: RegistryProcess | None,
    ) -> None:
        self._settings = settings
        self._generations = generations
        self._registry = registry
        self._service = _new_service() if settings.in_database else ""
        self.address = Address.of(listener)
        # gunicorn closes the descriptor once it has made a socket of its own from it.
        self._descriptor = listener.detach()
        self._max_connections = connections_that_fit(settings, raise_limit())
        super().__init__()

    def load_config(self) -> None:
        """Everything gunicorn is told; it reads no file, argument or variable by itself."""
        settings = self._settings
        drain_seconds = IDLE_SECONDS + REQUEST_DRAIN_SECONDS + settings.grace_seconds
        options = {
            "bind": f"fd://{self._descriptor}",
            "workers": settings.workers,
            "worker_class": DrainingUvicornWorker,
            "logger_class": StructuredLogger,
            # At debug it would begin with a page of its own settings, which are not the service's.
            "loglevel": "info" if settings.log_level == "debug" else settings.log_level,
            "errorlog": None,
            "accesslog": None,
            "proc_name": "afterwards",
            "keepalive": KEEP_ALIVE_SECONDS,
            "worker_connections": self._max_connections,
            "forwarded_allow_ips": ",".join(settings.trusted_proxies),
            "timeout": HEARTBEAT_TIMEOUT_SECONDS,
            "graceful_timeout": math.ceil(drain_seconds + _MARGIN_SECONDS),
            # The master holds the only listener: connections queue while there is no worker.
            "reuse_port": False,
            # Two services of one user would share its path.
            "control_socket_disable": True,
        }
        if os.access("/dev/shm", os.W_OK):  # noqa: S108 - gunicorn makes a file with mkstemp
            # The heartbeat is a touched file: on a disk, it could block the event loop.
            options["worker_tmp_dir"] = "/dev/shm"  # noqa: S108 - as above
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The ASGI application of one worker, made in that worker."""
        main = importlib.import_module("afterwards.main")
        endpoint = None if self._registry is None else self._registry.endpoint
        # A worker that is forked later begins with the latest.
        news = News(self._generations.board, self._generations.latest)
        return main.create_app(self._settings, endpoint=endpoint, service=self._service, news=news)

    def welcome(self) -> str:
        """The address of the service, and a first command to try it."""
        count = self._settings.workers
        workers = "1 worker" if count == 1 else f"{count} workers"
        return (
            f"Afterwards listens at {self.address} with {workers}; Ctrl-C stops it. Try:\n"
            f"  curl -i {self.address.for_curl()}{self._first_call()}"
        )

    def _first_call(self) -> str:
        if "notification" not in self._settings.built_in:
            return "/readyz"
        body = '{"email": "success@simulator.example", "message": "Hello"}'
        return f"/notify/ -H 'Content-Type: application/json' -d '{body}'"


class StructuredLogger(Logger):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's logger without handlers of its own: its lines go the way of all others."""

    def setup(self, cfg: Any) -> None:
        """Called at the start and on a reload."""
        super().setup(cfg)
        # uvicorn's worker takes these handlers over and does not propagate.
        self.error_log.handlers = list(logging.getLogger().handlers)
        self.error_log.propagate = False
