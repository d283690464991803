"""Imports point one way: the table of docs/architecture.md, held."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WORDS = ("app.registry.answers", "app.registry.base", "app.registry.requests")
"""What workers and the registry say to each other."""

TABLE: dict[str, tuple[str, ...]] = {
    "app": (),
    "app.errors": (),
    "app.garbage": (),
    "app.lifecycle": ("app.errors",),
    "app.recurrence": ("cronsim",),
    "app.schedule": ("app.lifecycle", "app.recurrence"),
    "app.logs": ("structlog",),
    "app.metrics": ("app.lifecycle", "prometheus_client"),
    # uvloop only if it is there.
    "afterwards_executors": ("afterwards_executors", "tenacity", "anyio", "uvloop"),
    "app.task_types": (
        "afterwards_executors", "app.errors", "app.logs", "app.task_types", "pydantic",
        "email_validator", "structlog",
    ),
    "app.attempt": (
        "app.errors", "app.logs", "app.task_types", "afterwards_executors", "pydantic", "structlog",
    ),
    "app.registry": (
        "app.errors", "app.garbage", "app.lifecycle", "app.logs", "app.metrics", "app.recurrence",
        "app.registry",
        "app.schedule", "tenacity",
    ),
    "app.dispatcher": (
        "app.attempt", "app.logs", *WORDS, "app.task_types.base",
        "app.task_types.context", "afterwards_executors",
    ),
    "app.events": (
        "app.errors", "app.events", "app.lifecycle", *WORDS, "app.registry.follower",
    ),
    "app.submissions": ("app.errors", "app.lifecycle", "app.task_types.base"),
    "app.bulk": ("app.errors", "app.lifecycle", *WORDS),
    "app.plans": (
        "app.lifecycle", *WORDS, "app.registry.client", "app.schedule",
        "app.submissions",
    ),
    "app.service": (
        "app.bulk", "app.dispatcher", "app.errors", "app.events", "app.lifecycle", "app.logs",
        "app.plans", *WORDS, "app.registry.client", "app.submissions",
        "app.task_types.base", "pydantic",
    ),
    "app.settings": ("app.errors", "app.logs", "dotenv", "pydantic", "pydantic_core",
                     "pydantic_settings"),
    "app.api": (
        "app.api", "app.bulk", "app.errors", "app.events", "app.lifecycle", "app.logs",
        "app.metrics", "app.plans", "app.recurrence", *WORDS, "app.schedule",
        "app.service", "app.settings", "app.submissions", "app.task_types", "fastapi", "starlette",
        "pydantic", "pydantic_core", "prometheus_client", "structlog",
    ),
    "app.backup": ("app.errors", "app.registry"),
    "bgtasks": ("app.attempt", "app.task_types"),
    "app.directories": ("app.errors", "app.settings"),
    "app.listener": ("app.errors", "app.settings"),
    "app.http_protocol": ("uvicorn",),
    "app.cli": ("app", "bgtasks_client", "httpx", "rich"),
    "app.worker": (
        "app.garbage", "app.http_protocol", "app.logs", "gunicorn", "uvicorn", "uvicorn_worker",
    ),
}  # fmt: skip
"""What a module, or a package's modules, may import besides the standard library."""

TOP = ("app.main", "app.serve", "app.cli")
"""May import everything; nobody else imports them."""

PACKAGES = ("app", "bgtasks", "executors/afterwards_executors")

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
            # "from app import api" is about app.api; "from app import __version__" is not.
            names = [f"{module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else module for name in names)


def is_of(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("module", [name for name in MODULES if name not in TOP])
def test_a_module_imports_what_its_layer_may(module: str) -> None:
    layer = max((row for row in TABLE if is_of(module, row)), key=len)
    assert layer != "app" or module == "app", f"{module} is in no row of the table"
    allowed = (*TABLE[layer], *sys.stdlib_module_names)
    found = {name for name in imports(MODULES[module]) if name != "app"}
    assert {name for name in found if not any(is_of(name, row) for row in allowed)} == set()


def test_every_row_of_the_table_is_there() -> None:
    assert {*TABLE, *TOP} - {"app.api", "app.registry"} <= set(MODULES)


def test_a_spawned_child_loads_no_web_framework() -> None:
    heavy = ("fastapi", "starlette", "gunicorn", "uvicorn", "pydantic_settings")
    seen: set[str] = set()
    waiting = ["app.attempt", "app.cli", "bgtasks"]
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
