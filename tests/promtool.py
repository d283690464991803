"""promtool, which comes with Prometheus: where it is, and how a test says that it needs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

PROMTOOL = shutil.which("promtool", path=f"{os.environ['PATH']}:{sys.prefix}/tools")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not there; make tools gets it"
)


def promtool(*arguments: str, stdin: str | None = None) -> tuple[int, str]:
    """Run it; the status, and all that it said."""
    assert PROMTOOL is not None
    run = subprocess.run(
        [PROMTOOL, *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout + run.stderr
