"""The rules for every task type, and the promise of each."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import anyio
import pytest

from afterwards.execution.attempt import FUNCTIONS
from afterwards.task_types import CATALOGUE, TaskType
from afterwards.task_types.base import Environment, TaskContext

RESULTS = {
    "notification": {"message": "Notification sent"},
    "report": {"message": "Report generated"},
    "email": {"message": "Email sent successfully"},
}
EXECUTORS = {
    "notification": "async",
    "report": "process",
    "file": "async",
    "email": "async",
    "http": "async",
}
SIMULATED = CATALOGUE.keys() - {"http", "webhook"}


def example(task_type: TaskType) -> Any:
    [example] = task_type.payload.model_json_schema()["examples"]
    return task_type.payload.model_validate(example)


def run(task_type: TaskType, context: TaskContext) -> Mapping[str, Any]:
    async def in_a_loop() -> Mapping[str, Any]:
        result = task_type.run(example(task_type), context)
        return await result if inspect.isawaitable(result) else result

    return anyio.run(in_a_loop)


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_type_is_listed_under_its_name_with_an_executor_that_exists(name: str) -> None:
    assert CATALOGUE[name].name == name
    assert CATALOGUE[name].executor in FUNCTIONS


@pytest.mark.parametrize(("name", "executor"), EXECUTORS.items())
def test_each_type_runs_where_its_work_belongs(name: str, executor: str) -> None:
    assert CATALOGUE[name].executor == executor


@pytest.mark.parametrize(("name", "result"), RESULTS.items())
def test_each_type_has_its_result(
    make_context: Callable[..., TaskContext], name: str, result: dict[str, str]
) -> None:
    assert run(CATALOGUE[name], make_context()) == result


@pytest.mark.parametrize("name", sorted(SIMULATED))
def test_each_type_takes_its_simulated_time(
    make_context: Callable[..., TaskContext], environment: Environment, name: str
) -> None:
    changes: dict[str, Any] = {f"{name}_delay_seconds": 0.05}
    delayed = replace(environment, **changes)
    started = time.perf_counter()
    run(CATALOGUE[name], make_context(environment=delayed))
    assert time.perf_counter() - started >= 0.05


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_payload_survives_being_written_and_read(name: str) -> None:
    payload = example(CATALOGUE[name])
    text = payload.model_dump_json(by_alias=True, exclude_unset=True)
    assert CATALOGUE[name].payload.model_validate_json(text) == payload


@pytest.mark.processes
def test_a_child_that_runs_attempts_loads_no_http_layer() -> None:
    code = (
        "import afterwards.execution.attempt, sys\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"fastapi", "starlette", "uvicorn", "gunicorn", "prometheus_client"} & set(loaded)
