"""`docs/task-types.md`, followed to the letter: its files are written, its commands are run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.reader import BLOCK, Reader, commands, fits, is_part_of, shown_json

PAGE = (Path(__file__).parents[2] / "docs" / "task-types.md").read_text()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.leave()


@pytest.mark.thorough
@pytest.mark.timeout(180)
def test_whoever_follows_the_page_sees_what_it_shows(reader: Reader) -> None:
    done = {"files": 0, "commands": 0}
    for block in BLOCK.finditer(PAGE):
        if block["path"] is not None:
            reader.write(block["path"], block["body"])
            done["files"] += 1
        elif block["kind"] == "console":
            for command in commands(block["body"]):
                reader.run(command)
                done["commands"] += 1
    # Nothing of the page was overlooked.
    assert done["files"] == PAGE.count("```python")
    assert done["commands"] == len(re.findall(r"^\$ ", PAGE, re.MULTILINE))


def test_what_is_shown_is_compared() -> None:
    assert is_part_of(shown_json('{"a": [{"b": 1, ...}], ...}'), {"a": [{"b": 1, "c": 2}], "d": 3})
    assert not is_part_of({"a": 1}, {"a": 2})
    assert not is_part_of({"a": 1}, {})
    assert not is_part_of([1], [1, 2])
    assert fits("a ... c", "a b c")
    assert not fits("a ... c", "a b d")
