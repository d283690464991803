"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from afterwards.settings import FLAGS, PLAIN_NAMES, Settings, variable

ROOT = Path(__file__).parents[1]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def rows() -> list[tuple[str, ...]]:
    found = re.findall(r"^\| (`AFTERWARDS_.*) \|$", CONFIGURATION, flags=re.MULTILINE)
    return [
        tuple(cell.strip(" `") for cell in re.split(r" ?\| ?", row, maxsplit=3)) for row in found
    ]


def documented_default(value: object) -> str:
    return "none" if value == () else str(value)


def test_the_table_of_settings_is_the_code_s() -> None:
    assert [row[:3] for row in rows()] == [
        (variable(name), FLAGS.get(name, ""), documented_default(field.default))
        for name, field in Settings.model_fields.items()
    ]


def test_the_table_says_of_each_setting_what_the_code_says() -> None:
    meanings = [str(field.description).strip(" `") for field in Settings.model_fields.values()]
    assert [row[3] for row in rows()] == meanings


def test_names_that_others_set_are_documented() -> None:
    assert all(f"`{name}`" in CONFIGURATION for name in PLAIN_NAMES.values())


def test_the_example_file_has_only_settings_that_exist() -> None:
    names = re.findall(r"^# (AFTERWARDS_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert names
    assert set(names) <= {variable(name) for name in Settings.model_fields}
