"""The pictures are those of the script, small and shown; their day has the series that it lived."""

from __future__ import annotations

import struct
from contextlib import closing
from pathlib import Path

import pytest

from afterwards.buckets import Bucket
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.journal.series_rows import Key
from tests.pictures.__main__ import FOLDER, PICTURES, Shot
from tests.pictures.day import lived

ROOT = Path(__file__).parents[2]
MOST_BYTES = 125 * 1024


def test_every_picture_is_there_and_no_other() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {picture.name for picture in PICTURES}


@pytest.mark.parametrize("picture", PICTURES, ids=[picture.name for picture in PICTURES])
def test_a_picture_is_as_large_as_its_window_and_small_on_disk(picture: Shot) -> None:
    png = (FOLDER / f"{picture.name}.png").read_bytes()
    assert struct.unpack_from(">II", png, 16) == (picture.width, picture.height)
    assert len(png) < MOST_BYTES


def test_every_picture_is_shown_once() -> None:
    shown = (ROOT / "README.md").read_text() + (ROOT / "docs" / "dashboard.md").read_text()
    assert [shown.count(f"pictures/{picture.name}.png") for picture in PICTURES] == [1] * len(
        PICTURES
    )


def test_a_day_leaves_its_tasks_and_their_series(tmp_path: Path) -> None:
    orders = lived(tmp_path, 3_600)
    with closing(SqliteJournal(tmp_path / "journal.sqlite3")) as journal:
        contents = journal.load()
        latest = journal.latest_series(60)
        assert latest is not None
        rows = journal.series(Key(60, latest[0] - 3_540, ""), latest[0])
    submitted = sum(bucket.counted[0] for _, row in rows if (bucket := Bucket.decode(row)))
    stored = [number for (counter, _, _), number in contents.counts.items() if counter == "tasks"]
    assert sum(stored) == orders
    # The last minute is not written yet.
    assert 0.9 * orders < submitted <= orders
