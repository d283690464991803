"""45 s of `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.run import run


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_every_acknowledged_task_ends_by_itself_whatever_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = run(tmp_path, seconds=45, seed=1, per_second=100)
    with capsys.disabled():
        print("\n" + findings.report())  # noqa: T201 - the figures are worth seeing
    assert not findings.failures
    assert len(findings.acknowledged) > 50  # on however slow a machine
