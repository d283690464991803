"""Imports point one way: the rooms of docs/architecture.md, and the arrows between them."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


class May(NamedTuple):
    """The imports of a room's modules besides each other and the standard library."""

    ours: str = ""
    """Rooms of the service, or modules of one."""
    others: str = ""
    """Packages of others."""


ROOMS: Final[dict[str, May]] = {
    "encryption_keys": May(),
    "errors": May(),
    "logs": May("", "structlog"),
    "mail": May("logs", "afterwards_executors.retry aiosmtplib email_validator"),
    "task_ids": May(),
    "labels": May(),
    "artifacts": May(),
    "access": May(),
    "trace_context": May(),
    "moments": May(),
    "lifecycle": May("errors moments"),
    "counts": May("lifecycle"),
    "buckets": May("counts lifecycle"),
    "metrics": May("counts lifecycle", "prometheus_client"),
    "outgoing": May("", "httpcore"),
    "effects": May("mail outgoing"),
    "webhooks": May("lifecycle moments"),
    "setting_types": May(
        "encryption_keys mail.settings outgoing.reach webhooks", "pydantic pydantic_settings"
    ),
    "setting_sources": May("errors", "dotenv pydantic_settings"),
    "setting_secrets": May(
        "effects.secrets encryption_keys errors mail.settings setting_sources", "pydantic"
    ),
    "setting_table": May("logs setting_sources setting_types", "pydantic pydantic_settings"),
    "settings": May(
        "effects.settings encryption_keys errors mail.settings outgoing.reach setting_secrets "
        "setting_sources setting_table setting_types webhooks.webhook",
        "pydantic pydantic_core pydantic_settings",
    ),
    "system": May("artifacts errors setting_sources settings", "dotenv structlog"),
    "cluster": May("errors logs settings system"),
    "database": May("errors settings"),
    "schedules": May("lifecycle", "cronsim"),
    "task_types": May(
        "artifacts effects errors labels lifecycle logs mail.content outgoing.calls outgoing.reach "
        "outgoing.statuses schedules setting_sources system trace_context webhooks",
        "afterwards_executors email_validator pydantic pydantic_core structlog tenacity",
    ),
    "": May("task_types"),  # the package itself: what modules of task types import
    "registry": May(),
    "registry.protocol": May("access counts errors lifecycle logs schedules system webhooks"),
    "registry.journal": May(
        "access counts encryption_keys errors lifecycle logs registry.protocol schedules webhooks",
        "cryptography",
    ),
    "registry.state": May(
        "access errors lifecycle logs moments registry.journal registry.protocol schedules "
        "task_ids webhooks"
    ),
    "registry.engine": May(
        "buckets counts errors lifecycle logs metrics registry.journal registry.protocol "
        "registry.state system trace_context"
    ),
    "registry.postgresql": May(
        "access buckets counts errors lifecycle logs metrics registry.journal registry.protocol "
        "registry.state schedules system webhooks",
        "orjson psycopg",
    ),
    "registry.process": May(
        "access encryption_keys errors logs registry.engine registry.journal registry.protocol "
        "registry.state system",
        "afterwards_executors.prctl",
    ),
    "registry.client": May("access counts errors logs registry.protocol system", "tenacity"),
    "traces": May(
        "errors lifecycle logs registry.protocol system trace_context", "opentelemetry structlog"
    ),
    "execution": May(
        "artifacts counts effects.settings errors labels lifecycle logs registry.protocol system "
        "task_ids task_types trace_context traces.base webhooks.webhook",
        "afterwards_executors pydantic structlog",
    ),
    "testing": May("execution task_types", "pydantic"),
    "events": May("errors lifecycle logs registry.client.follower registry.protocol"),
    "service": May(
        "access buckets errors events execution lifecycle logs registry.client.client "
        "registry.client.list_reader registry.protocol schedules system task_ids task_types "
        "traces.base webhooks",
        "afterwards_executors pydantic pydantic_core",
    ),
    "dashboard": May(),
    "api": May(
        "access artifacts counts dashboard errors events.statistics events.streams "
        "events.task_stream events.window labels lifecycle logs moments outgoing.reach "
        "registry.protocol.activity registry.protocol.answers registry.protocol.filters schedules "
        "service settings system task_types trace_context webhooks",
        "fastapi orjson prometheus_client pydantic pydantic_core starlette structlog",
    ),
    "assembly": May(
        "effects.settings execution logs registry.client registry.process registry.protocol "
        "registry.state.acceptance service setting_sources settings system task_types traces.base",
        "afterwards_executors",
    ),
    "code_renewals": May(
        "assembly execution.host_log logs service.validator settings task_types",
        "afterwards_executors",
    ),
    "web_worker": May(
        "api assembly code_renewals counts events execution logs registry.client registry.process "
        "registry.protocol service settings system task_types",
        "afterwards_executors",
    ),
    "main": May(
        "api assembly cluster database errors logs registry.client.ring registry.process service "
        "settings system task_types traces.base web_worker",
        "fastapi uvicorn",
    ),
    "server": May(
        "access cluster database encryption_keys errors logs registry.journal registry.process "
        "registry.protocol registry.state setting_sources setting_types settings system "
        "task_types traces.base",
        "afterwards_executors gunicorn httptools uvicorn uvicorn_worker",
    ),
    "cli": May(
        "access errors labels logs server setting_sources settings system",
        "afterwards_client httpx rich",
    ),
}
"""The lowest floor first: a room imports only from rooms that are listed before it.

`server` also loads `main`, by name, before it forks the workers.
"""

SERVICE: Final = "afterwards"
EXECUTORS_PACKAGE: Final = "afterwards_executors"
EXECUTORS: Final = May("", "tenacity uvloop")
CLUSTER: Final = f"{EXECUTORS_PACKAGE}.cluster"
OF_DASK: Final = frozenset(
    {
        f"{CLUSTER}.{name}"
        for name in ("call", "calls", "check", "host", "office", "plugin", "relay", "session")
    }
)
"""The modules that import Dask's. They run in a host of their own, and in the cluster."""

MODULES = {
    ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in (ROOT / "app/afterwards", ROOT / "executors/afterwards_executors")
    for path in sorted(folder.rglob("*.py"))
}


# What runs in a host knows nothing of whoever has started it, nor the other way round.
APART: Final = {
    f"{EXECUTORS_PACKAGE}.inside": f"{EXECUTORS_PACKAGE}.hosts",
    f"{EXECUTORS_PACKAGE}.hosts": f"{EXECUTORS_PACKAGE}.inside",
}


def imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            source = str(node.module)
            # "from afterwards.api import schemas" is about a module, "import __version__" is not.
            names = [f"{source}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else source for name in names)


def is_of(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def room_of(module: str) -> str:
    """The row of the table that a module of the service belongs to."""
    path = module.partition(".")[2]
    rows = [room for room in ROOMS if is_of(path, room)]
    assert rows, f"{module} is in no row of the table"
    return max(rows, key=len)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_its_room_may(module: str) -> None:
    if is_of(module, SERVICE):
        own, may = f"{SERVICE}.{room_of(module)}".rstrip("."), ROOMS[room_of(module)]
    else:
        own = module.partition(".")[0]
        may = May("", "dask distributed") if module in OF_DASK else EXECUTORS
    ours = [f"{SERVICE}.{name}" for name in may.ours.split()]
    allowed = (*ours, *may.others.split(), *sys.stdlib_module_names)
    # The version is everybody's.
    found = {name for name in imports(module) if name != SERVICE}
    stray = {name for name in found if not any(is_of(name, row) for row in allowed)}
    assert {name for name in stray if not is_of(name, own) or own == SERVICE} == set()


@pytest.mark.parametrize("room", APART)
def test_hosts_and_what_runs_in_them_meet_on_the_wire_only(room: str) -> None:
    found = {name for module in MODULES if is_of(module, room) for name in imports(module)}
    assert found
    assert not {name for name in found if is_of(name, APART[room]) or is_of(name, SERVICE)}


def test_what_imports_dask_is_imported_by_its_host_alone() -> None:
    host = f"{EXECUTORS_PACKAGE}.inside.__main__"
    found = {module for module in MODULES if not OF_DASK.isdisjoint(imports(module))}
    assert found <= OF_DASK | {host}


def test_no_arrow_points_back_up() -> None:
    above: list[str] = []
    for room, may in ROOMS.items():
        for name in may.ours.split():
            assert room_of(f"{SERVICE}.{name}") in above, f"{room} imports {name}"
        above.append(room)


def test_every_row_of_the_table_is_there() -> None:
    assert {f"{SERVICE}.{room}".rstrip(".") for room in ROOMS} <= set(MODULES)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {name for name in imports(module) if name in MODULES and name != SERVICE}
        for module in MODULES
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_a_spawned_child_loads_no_web_framework() -> None:
    heavy = ("fastapi", "starlette", "gunicorn", "uvicorn", "pydantic_settings")
    seen: set[str] = set()
    waiting = ["afterwards.execution.attempt", "afterwards.cli", "afterwards.testing"]
    while waiting:
        module = waiting.pop()
        seen.add(module)
        if module in MODULES:
            # Imports inside functions happen where they are called.
            top = ast.parse(MODULES[module].read_text()).body
            found = [n for n in top if isinstance(n, ast.Import | ast.ImportFrom)]
            for node in found:
                source = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                if source not in seen:
                    waiting.append(str(source))
    assert not {name for name in seen for row in heavy if is_of(name, row)}
