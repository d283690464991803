"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from afterwards.api.waiting import LONGEST_SECONDS
from afterwards.setting_sources import FLAGS, PLAIN_NAMES, variable
from afterwards.settings import Settings
from afterwards_client.flows import LONGEST_LEG_SECONDS

ROOT = Path(__file__).parents[1]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def rows() -> list[tuple[str, ...]]:
    found = re.findall(r"^\| (`AFTERWARDS_.*) \|$", CONFIGURATION, flags=re.MULTILINE)
    return [
        tuple(cell.strip(" `") for cell in re.split(r" ?\| ?", row, maxsplit=3)) for row in found
    ]


def documented_default(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and value:
        return ",".join(map(str, value))
    return "none" if value in ((), "", None) else str(value)


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


# -- deployment.md -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name"),
    [("nginx.conf", "proxy_read_timeout"), ("Caddyfile", "response_header_timeout")],
)
def test_a_proxy_lets_every_wait_end(file: str, name: str) -> None:
    (seconds,) = re.findall(
        rf"^\s+{name} (\d+)s;?$", (ROOT / "deploy" / file).read_text(), re.MULTILINE
    )
    assert int(seconds) > LONGEST_SECONDS > LONGEST_LEG_SECONDS


def test_the_longest_waits_are_those_of_the_page() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    assert f"| {LONGEST_LEG_SECONDS} s, then it asks again |" in text
    assert f"at most {LONGEST_SECONDS} s |" in text


# -- CONTRIBUTING.md ---------------------------------------------------------------------------

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
SOURCES = {
    ROOT / "app" / "afterwards": ("", "."),
    ROOT / "executors" / "afterwards_executors": ("afterwards_executors", "executors"),
    ROOT / "clients" / "python" / "afterwards_client": ("afterwards_client", "client"),
}
"""The places of modules: what a room of theirs is called, and the tests' folder for them."""


def without_a_test_of_their_name() -> set[tuple[str, str]]:
    """Rooms, and the modules in them that no test file is named after."""
    found = set()
    for source, (prefix, folder) in SOURCES.items():
        taken: set[Path] = set()
        # A test file is about one module: the one that lies less deep.
        for path in sorted(source.rglob("*.py"), key=lambda path: len(path.parts)):
            room = path.parent.relative_to(source)
            own = f"test_{path.name}"
            tests = ROOT / "tests" / folder
            # A top-level module's test lies at the top; one of a room, anywhere in that room.
            places = [tests / own] if room == Path() else (tests / room.parts[0]).rglob(own)
            if folder != ".":
                places = tests.rglob(own)
            free = [place for place in places if place.exists() and place not in taken]
            taken.update(free[:1])
            if path.stem.strip("_") == path.stem and not free:
                found.add((str(Path(prefix) / room), path.stem))
    return found


def test_the_table_of_modules_without_a_test_of_their_name_is_right() -> None:
    section = CONTRIBUTING.partition("## Where a test goes")[2].partition("\n## ")[0]
    listed = []
    for line in section.splitlines():
        if line.startswith("| `"):
            room, modules, held_by = (
                re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:4]
            )
            listed += [(str(Path(room[0])), module) for module in modules]
            assert held_by
            assert all((ROOT / path).exists() for path in held_by), held_by
    assert len(listed) == len(set(listed))
    assert set(listed) == without_a_test_of_their_name()


# -- architecture.md ---------------------------------------------------------------------------

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def described_rooms() -> dict[Path, set[str]]:
    """The rooms that have a section, each with the modules that its section names."""
    section = ARCHITECTURE.partition("## The rooms of the code")[2].partition("\n## ")[0]
    rooms: dict[Path, set[str]] = {}
    for part in section.split("\n### ")[1:]:
        heading, _, text = part.partition("\n")
        named = set(re.findall(r"`(\w+)\.py`", text))
        links = re.findall(r"\]\(\.\./([\w/]+)/\)", heading) or ["app/afterwards"]
        for link in links:
            here = {path.stem for path in (ROOT / link).glob("*.py")}
            others = [{path.stem for path in (ROOT / other).glob("*.py")} for other in links]
            assert named <= set().union(*others), heading
            rooms[ROOT / link] = named & here
    return rooms


def test_the_page_of_the_architecture_names_modules_of_every_room() -> None:
    assert [room for room, named in described_rooms().items() if not named] == []


def test_every_room_has_a_section_in_the_page_of_the_architecture() -> None:
    rooms = {
        path.parent
        for source in SOURCES
        for path in source.rglob("*.py")
        if path.parent.name not in {"registry", "schemas", "static"}
    }
    assert rooms == set(described_rooms())


def test_the_way_of_a_task_has_at_most_twelve_stations_each_with_its_module() -> None:
    section = ARCHITECTURE.partition("## The way of a task")[2].partition("\n## ")[0]
    drawn = {int(number) for number in re.findall(r'n\d+\["(\d+) ', section)}
    modules = re.findall(r"^\| (\d+) \| \[`[\w/.]+`\]\(\.\./([\w/.]+)\) \|", section, re.MULTILINE)
    assert {int(number) for number, _ in modules} == drawn == set(range(1, len(modules) + 1))
    assert len(modules) <= 12
    assert all((ROOT / module).is_file() for _, module in modules)
