"""The list of the files that take longest, by which they are ordered, is of files that exist.

    python -m tests.test_longest_files JUNIT-FILE > tests/longest_files.txt

writes it anew from what `pytest --junit-xml=JUNIT-FILE` has left.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

TESTS: Final = Path(__file__).parent
FILES: Final = 60
"""So many are listed; each of the others is done in moments."""


def longest(report: str) -> list[str]:
    """The files of a JUnit report that took longest, from below `tests/`, the longest first."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for case in ET.fromstring(report).iter("testcase"):
        module = case.get("classname", "").removeprefix("tests.")
        seconds[f"{module.replace('.', '/')}.py"] += float(case.get("time", "0"))
    return sorted(seconds, key=lambda file: -seconds[file])[:FILES]


def test_each_file_that_is_listed_exists_and_is_listed_once() -> None:
    listed = (TESTS / "longest_files.txt").read_text().split()
    assert 0 < len(listed) <= FILES
    assert [file for file in listed if not (TESTS / file).is_file()] == []
    assert len(set(listed)) == len(listed)


def test_the_times_of_a_file_s_tests_are_added_up() -> None:
    cases = {"tests.a.test_b": "1.5", "tests.test_c": "2.0", "tests.test_d": "0.1"}
    report = "".join(
        f'<testcase classname="{module}" name="test_{number}" time="{time}"/>'
        for module, time in cases.items()
        for number in range(2)
    )
    assert longest(f"<testsuites>{report}</testsuites>") == [
        "test_c.py",
        "a/test_b.py",
        "test_d.py",
    ]


if __name__ == "__main__":
    sys.stdout.write("".join(f"{file}\n" for file in longest(Path(sys.argv[1]).read_text())))
