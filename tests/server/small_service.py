"""A script: `afterwards` with a small application and a registry process that does nothing.

What it sees of its life it appends to the file named by `EVENTS`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

from afterwards.task_types.described import described
from afterwards.task_types.generations import Generation, News

EVENTS = Path(os.environ["EVENTS"])
GATE = EVENTS.with_name("gate")
BREATHLESS = EVENTS.with_name("breathless")
"""While there is such a file, the registry gives no sign of life."""
IDLE = "import signal; signal.pause()"


def note(event: str) -> None:
    with EVENTS.open("a") as file:
        file.write(f"{event} {os.getpid()}\n")


class Registry:
    """The registry process as the master sees it."""

    endpoint = "the endpoint"

    def __init__(self, config: str) -> None:
        assert config == "the configuration"
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        if os.environ.get("REGISTRY") == "broken":
            from afterwards.errors import JournalError

            raise JournalError("tasks.db", "not a database")
        self._spawn()

    def _spawn(self) -> None:
        self._child = subprocess.Popen([sys.executable, "-c", IDLE], start_new_session=True)
        note(f"registry-{self._child.pid}")

    def ensure_running(self) -> None:
        assert self._child is not None
        assert not self._stopped, "looked after once it was stopped"
        if self._child.poll() is not None:
            self._spawn()

    def end_if_silent(self) -> None:
        assert not self._stopped, "looked after once it was stopped"

    def is_beating(self) -> bool:
        return self._child is not None and not BREATHLESS.exists()

    def stop(self, timeout_seconds: float) -> None:
        self._stopped = True
        if self._child is not None:
            note("registry-stopped")
            self._child.kill()
            self._child.wait(timeout_seconds)
            self._child = None


class Application:
    """Answers with its pid, `/gate` only once a file is there; takes to all task code."""

    def __init__(self, news: News) -> None:
        self._news = news
        self.state = types.SimpleNamespace(begin_drain=lambda: note("begin-drain"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["path"] == "/gate":
            note("request-waits")
            while not GATE.exists():  # noqa: ASYNC110 - another process opens it
                await asyncio.sleep(0.01)
        body = str(os.getpid()).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        if os.environ.get("APPLICATION") == "broken":
            await send({"type": "lifespan.startup.failed", "message": "broken"})
            return
        note("worker-started")
        following = asyncio.create_task(self._news.follow(self._take))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        following.cancel()
        note("worker-ended")
        await send({"type": "lifespan.shutdown.complete"})

    async def _take(self, _: Generation) -> None:
        """Take to a generation: there is nothing to do."""


def create_app(_settings: object, *, endpoint: object, service: str, news: News) -> Application:
    assert endpoint in (None, Registry.endpoint)
    assert not service, "that is for a database"
    note("has-the-first-code" if news.first.number == 1 else "has-later-code")
    return Application(news)


def replace(name: str, **contents: object) -> None:
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


if __name__ == "__main__":
    replace("afterwards.main", create_app=create_app)
    replace(
        "afterwards.assembly",
        registry_config=lambda _: "the configuration",
        announce_mail=lambda _: None,
        describe_types=lambda settings: described(settings.task_modules, settings.built_in),
    )
    replace("afterwards.registry.process.supervised", RegistryProcess=Registry)

    from afterwards.cli import main

    sys.exit(main())
