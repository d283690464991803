"""`docs/reliability.md` promises what tests show."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text()


def test_every_row_names_a_test_that_exists() -> None:
    _, _, table = PAGE.partition("## What happens if")
    rows = [row for row in table.splitlines() if row.startswith("| ") and row.count("|") == 4]
    named = [re.findall(r"`(test_\w+)`", row) for row in rows if "| test |" not in row]
    assert len(named) > 20
    assert all(len(names) == 1 for names in named)
    defined = {
        name
        for file in TESTS.rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert {names[0] for names in named} <= defined
