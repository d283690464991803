from __future__ import annotations

import os
from pathlib import Path

import pytest

from afterwards.artifacts import Artifact
from afterwards.system.artifact_files import open_artifact, remove_all, remove_leftovers

TASK = "2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11"
OTHER = "3f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11"
SECRET = b"do not read"
ARTIFACT = Artifact("a.txt", len(SECRET), "0" * 64, 2)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for attempt in (1, 2, 3):
        place = tmp_path / "outputs" / TASK / str(attempt)
        place.mkdir(parents=True)
        (place / "a.txt").write_bytes(SECRET)
    return tmp_path / "outputs"


def read(outputs: Path, artifact: Artifact = ARTIFACT) -> bytes:
    descriptor = open_artifact(outputs, TASK, artifact)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def left(outputs: Path) -> list[str]:
    return sorted(str(path.relative_to(outputs)) for path in outputs.rglob("*"))


def test_an_artifact_is_read_from_its_attempts_folder(outputs: Path) -> None:
    assert read(outputs) == SECRET


def test_a_tasks_own_file_is_read_from_the_output_directory(outputs: Path) -> None:
    (outputs / f"{TASK}.json").write_bytes(b"{}\n")
    assert read(outputs, Artifact(f"{TASK}.json", 3, "0" * 64, 0)) == b"{}\n"


@pytest.mark.parametrize("place", ["", "2", "2/a.txt"])
def test_no_link_is_followed_out_of_the_task(outputs: Path, tmp_path: Path, place: str) -> None:
    planted = outputs / TASK / place
    elsewhere = tmp_path / "elsewhere"
    planted.rename(elsewhere)
    planted.symlink_to(elsewhere)
    with pytest.raises(OSError):  # noqa: PT011 - the system's own, of one kind for each place
        read(outputs)


def test_only_the_regular_file_that_was_made_is_read(outputs: Path) -> None:
    path = outputs / TASK / "2" / "a.txt"
    path.write_bytes(b"another size")
    with pytest.raises(FileNotFoundError):
        read(outputs)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FileNotFoundError):
        read(outputs, ARTIFACT._replace(size=0))


def test_with_a_task_go_all_its_files_and_no_others(outputs: Path) -> None:
    for name in (f"{TASK}.json", f".{TASK}.1.tmp", f".{TASK}.2.tmp", f"{OTHER}.json"):
        (outputs / name).write_text("{}")
    remove_all(outputs, TASK, 2)
    assert left(outputs) == [f"{OTHER}.json"]
    remove_all(outputs, TASK, 2)


def test_leftovers_go_and_what_is_kept_or_came_later_stays(outputs: Path) -> None:
    (outputs / f".{TASK}.1.tmp").write_text("{}")
    (outputs / f"{TASK}.json").write_text("{}")
    remove_leftovers(outputs, TASK, 2, kept=2)
    assert left(outputs) == [
        TASK,
        f"{TASK}.json",
        f"{TASK}/2",
        f"{TASK}/2/a.txt",
        f"{TASK}/3",
        f"{TASK}/3/a.txt",
    ]
    remove_leftovers(outputs, TASK, 3, kept=0)
    assert left(outputs) == [f"{TASK}.json"]
    remove_leftovers(outputs, TASK, 3, kept=0)


@pytest.mark.parametrize("kept", [None, 0])
def test_a_planted_link_leads_to_no_other_files(
    outputs: Path, tmp_path: Path, kept: int | None
) -> None:
    (outputs / TASK).rename(tmp_path / "elsewhere")
    (outputs / TASK).symlink_to(tmp_path / "elsewhere")
    if kept is None:
        remove_all(outputs, TASK, 3)
    else:
        remove_leftovers(outputs, TASK, 3, kept)
    assert len(left(tmp_path / "elsewhere")) == 6


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remove_all(tmp_path / "unmounted", TASK, 1)
