"""Imports point one way: the table of docs/architecture.md, held."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WORDS = (
    "afterwards.registry.protocol.answers",
    "afterwards.registry.protocol.base",
    "afterwards.registry.protocol.requests",
)
"""What workers and the registry say to each other."""

TABLE: dict[str, tuple[str, ...]] = {
    # The face of the package: what modules of task types import.
    "afterwards": ("afterwards.task_types",),
    "afterwards.errors": (),
    "afterwards.garbage": (),
    "afterwards.lifecycle": ("afterwards.errors",),
    "afterwards.schedules.recurrence": ("cronsim",),
    "afterwards.schedules.schedule": ("afterwards.lifecycle", "afterwards.schedules.recurrence"),
    "afterwards.logs": ("structlog",),
    "afterwards.counts": ("afterwards.lifecycle",),
    "afterwards.metrics": ("afterwards.counts", "afterwards.lifecycle", "prometheus_client"),
    # uvloop only if it is there.
    "afterwards_executors": ("afterwards_executors", "tenacity", "anyio", "uvloop"),
    "afterwards.task_types": (
        "afterwards_executors",
        "afterwards.errors",
        "afterwards.logs",
        "afterwards.task_types",
        "pydantic",
        "email_validator",
        "structlog",
    ),
    "afterwards.execution.attempt": (
        "afterwards.errors",
        "afterwards.logs",
        "afterwards.task_types",
        "afterwards_executors",
        "pydantic",
        "structlog",
    ),
    "afterwards.registry": (
        "afterwards.errors",
        "afterwards.garbage",
        "afterwards.lifecycle",
        "afterwards.logs",
        "afterwards.counts",
        "afterwards.metrics",
        "afterwards.schedules.recurrence",
        "afterwards.registry",
        "afterwards.schedules.schedule",
        "tenacity",
    ),
    "afterwards.execution.dispatcher": (
        "afterwards.execution.attempt",
        "afterwards.logs",
        *WORDS,
        "afterwards.task_types.base",
        "afterwards.task_types.context",
        "afterwards_executors",
    ),
    "afterwards.events": (
        "afterwards.errors",
        "afterwards.events",
        "afterwards.lifecycle",
        *WORDS,
        "afterwards.registry.client.follower",
    ),
    "afterwards.service.intake": (
        "afterwards.errors",
        "afterwards.lifecycle",
        "afterwards.task_types.base",
    ),
    "afterwards.service.bulk": ("afterwards.errors", "afterwards.lifecycle", *WORDS),
    "afterwards.service.operations": (
        "afterwards.lifecycle",
        *WORDS,
        "afterwards.registry.client.client",
        "afterwards.schedules.schedule",
        "afterwards.service.intake",
    ),
    "afterwards.service.service": (
        "afterwards.service.bulk",
        "afterwards.execution.dispatcher",
        "afterwards.errors",
        "afterwards.events",
        "afterwards.lifecycle",
        "afterwards.logs",
        "afterwards.service.operations",
        *WORDS,
        "afterwards.registry.client.client",
        "afterwards.service.intake",
        "afterwards.task_types.base",
        "pydantic",
    ),
    "afterwards.settings": (
        "afterwards.errors",
        "afterwards.logs",
        "dotenv",
        "pydantic",
        "pydantic_core",
        "pydantic_settings",
    ),
    "afterwards.api": (
        "afterwards.api",
        "afterwards.service.bulk",
        "afterwards.errors",
        "afterwards.events",
        "afterwards.lifecycle",
        "afterwards.logs",
        "afterwards.counts",
        "afterwards.metrics",
        "afterwards.service.operations",
        "afterwards.schedules.recurrence",
        *WORDS,
        "afterwards.schedules.schedule",
        "afterwards.service.service",
        "afterwards.settings",
        "afterwards.service.intake",
        "afterwards.task_types",
        "fastapi",
        "starlette",
        "pydantic",
        "pydantic_core",
        "prometheus_client",
        "structlog",
    ),
    "afterwards.server.backup": ("afterwards.errors", "afterwards.registry"),
    "afterwards.testing": ("afterwards.execution.attempt", "afterwards.task_types"),
    "afterwards.directories": ("afterwards.errors", "afterwards.settings"),
    "afterwards.server.listener": ("afterwards.errors", "afterwards.settings"),
    "afterwards.server.http_protocol": ("uvicorn",),
    "afterwards.cli": ("afterwards", "afterwards_client", "httpx", "rich"),
    "afterwards.server.worker": (
        "afterwards.garbage",
        "afterwards.server.http_protocol",
        "afterwards.logs",
        "gunicorn",
        "uvicorn",
        "uvicorn_worker",
    ),
}
"""What a module, or a package's modules, may import besides the standard library."""

TOP = ("afterwards.main", "afterwards.server.serve", "afterwards.cli")
"""May import everything; nobody else imports them."""

PACKAGES = ("app/afterwards", "executors/afterwards_executors")

MODULES = {
    ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in (ROOT / package for package in PACKAGES)
    for path in sorted(folder.rglob("*.py"))
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = str(node.module)
            # "from afterwards import api" is about afterwards.api; "from afterwards import
            # __version__" is not.
            names = [f"{module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else module for name in names)


def is_of(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("module", [name for name in MODULES if name not in TOP])
def test_a_module_imports_what_its_layer_may(module: str) -> None:
    layer = max((row for row in TABLE if is_of(module, row)), key=len)
    found = {name for name in imports(MODULES[module]) if name != "afterwards"}
    is_in_a_row = layer != "afterwards" or module == "afterwards"
    assert is_in_a_row or not found, f"{module} is in no row of the table"
    allowed = (*TABLE[layer], *sys.stdlib_module_names)
    assert {name for name in found if not any(is_of(name, row) for row in allowed)} == set()


def test_every_row_of_the_table_is_there() -> None:
    assert {*TABLE, *TOP} - {"afterwards.api", "afterwards.registry"} <= set(MODULES)


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
