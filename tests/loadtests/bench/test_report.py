"""The table and the JSON say the same, with what the figures depend on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from loadtests.bench import disk, report
from loadtests.bench.figures import Figure, Row
from loadtests.bench.run import run
from loadtests.errors import LoadTestError
from tests.loadtests.conftest import SMALL

SVG = "{http://www.w3.org/2000/svg}"
MACHINE = report.Machine(
    cpus=2,
    cpu="a fast one",
    load_average=0.1,
    python="3.11",
    packages={"fastapi": "1"},
    file_system="ext4",
    sync_p50_ms=0.2,
    sync_p99_ms=0.456,
)
ROWS = [
    Row(
        "post",
        "POST",
        "1/s",
        Figure.of([4_000, 6_000, 5_000]),
        Figure.of([8_000, 8_000, 8_000]),
        "bare route",
        "10 of 10 synced before the 202",
    ),
    Row("executors", "thread", "1/s", Figure.of([1.5])),
]


def test_the_table_has_medians_spreads_ratios_and_durability() -> None:
    text = report.table(MACHINE, SMALL, ROWS)
    for part in (
        "5,000 (4,000..6,000)",
        "8,000 (8,000..8,000)",
        "0.62 (0.50..0.75)",
        "durable: 10 of 10 synced before the 202",
        "1.50 (1.50..1.50)",
        "nothing is stored",
        "fdatasync of a page on ext4: p50 0.200 ms, p99 0.456 ms",
    ):
        assert part in text
    assert "WARNING" not in text


def test_a_file_system_without_a_disk_is_warned_of() -> None:
    assert "WARNING" in report.table(replace(MACHINE, file_system="tmpfs"), SMALL, ROWS)


def test_the_picture_has_a_pair_of_bars_for_each_row_that_is_beside_something() -> None:
    picture = ET.fromstring(report.picture(MACHINE, SMALL, ROWS))
    texts = [element.text for element in picture.iter(f"{SVG}text")]
    assert texts[1:] == [
        "POST, 1/s (ratio to bare route: 0.62)",
        "Afterwards",
        "5,000",
        "bare route",
        "8,000",
    ]
    background, ours, beside = picture.iter(f"{SVG}rect")
    assert float(ours.get("width", "")) / float(beside.get("width", "")) == pytest.approx(
        5 / 8, 0.01
    )
    assert background.get("width") == picture.get("width")


def test_names_in_the_picture_are_text_and_no_markup() -> None:
    row = replace(ROWS[0], name="<b>&'", beside_name="a > b")
    picture = ET.fromstring(report.picture(MACHINE, SMALL, [row]))
    texts = [element.text for element in picture.iter(f"{SVG}text")]
    assert texts[1] == "<b>&', 1/s (ratio to a > b: 0.62)"


def test_the_json_has_every_round() -> None:
    content = json.loads(report.document(MACHINE, SMALL, ROWS))
    first, second = content["rows"]
    assert first["ours"] == {
        "median": 5_000, "min": 4_000, "max": 6_000, "rounds": [4_000, 6_000, 5_000],
    }  # fmt: skip
    assert first["ratio"]["median"] == 0.625
    assert second["ratio"] is None
    assert content["machine"]["sync_p50_ms"] == 0.2
    assert content["sizes"]["connections"] == SMALL.connections


def test_a_run_writes_its_files_and_says_what_the_disk_takes(tmp_path: Path) -> None:
    text, files = run(["executors"], SMALL, tmp_path, tmp_path, lambda _: None)
    assert sorted(file.suffix for file in files) == [".json", ".svg", ".txt"]
    assert files[0].read_text() == text
    assert f"fdatasync of a page on {disk.file_system(tmp_path)}: p50" in text


def test_an_unknown_measurement_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="no such measurement: posts; there are post, "):
        run(["posts"], SMALL, tmp_path, tmp_path, lambda _: None)
