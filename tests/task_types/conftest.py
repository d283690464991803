from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from afterwards.task_types.base import Environment, TaskContext


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(
        output_dir=tmp_path / "outputs",
        notification_delay_seconds=0,
        report_delay_seconds=0,
        file_delay_seconds=0,
        email_delay_seconds=0,
        max_result_bytes=1_000,
    )


@pytest.fixture
def make_context(environment: Environment) -> Callable[..., TaskContext]:
    context = TaskContext("the-task", attempt=1, attempts_used=0, environment=environment)

    def make(**changes: Any) -> TaskContext:
        return replace(context, **changes)

    return make
