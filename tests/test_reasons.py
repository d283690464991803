"""Exceptions to the rules of ruff and mypy are for one rule, and say why beside it."""

from __future__ import annotations

import re
import tokenize
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = ("app", "clients", "examples", "executors", "loadtests", "tests")
EXCEPTION: Final = re.compile(r"#\s*(noqa|type:\s*ignore)")
WITH_REASON: Final = re.compile(
    r"# (noqa: [A-Z]+\d+(, [A-Z]+\d+)* - |type: ignore\[[a-z-]+(,[a-z-]+)*\] +# )\S+"
)


def unreasoned(path: Path) -> list[str]:
    with tokenize.open(path) as file:
        return [
            f"{path.relative_to(ROOT)}:{token.start[0]}: {token.string}"
            for token in tokenize.generate_tokens(file.readline)
            if token.type == tokenize.COMMENT
            and EXCEPTION.search(token.string)
            and not WITH_REASON.search(token.string)
        ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_exception_to_a_rule_has_its_reason_beside_it(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    assert [line for path in paths for line in unreasoned(path)] == []
