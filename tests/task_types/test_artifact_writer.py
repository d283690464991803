from __future__ import annotations

import csv
import errno
import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from afterwards.artifacts import Artifact, decoded
from afterwards.task_types import disk_errors
from afterwards.task_types.artifact_writer import ArtifactWriter
from afterwards_executors.retry import PermanentError, TransientError

TASK = "2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11"


def writer_of(outputs: Path, attempt: int = 1, most_bytes: int = 1_000) -> ArtifactWriter:
    return ArtifactWriter(outputs, TASK, attempt, most_bytes)


def write(writer: ArtifactWriter, name: str = "report.pdf", content: bytes = b"%PDF") -> None:
    with writer.open(name) as file:
        file.write(content)


def files(outputs: Path) -> dict[str, bytes]:
    """All files below the output directory."""
    found = (path for path in outputs.rglob("*") if path.is_file())
    return {str(path.relative_to(outputs)): path.read_bytes() for path in sorted(found)}


def test_what_is_written_is_listed_with_its_size_and_digest(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    write(writer)
    assert decoded(writer.keep()) == [
        Artifact("report.pdf", 4, hashlib.sha256(b"%PDF").hexdigest(), 1)
    ]
    assert files(tmp_path) == {f"{TASK}/1/report.pdf": b"%PDF"}


def test_text_has_the_encoding_and_line_ends_that_were_asked_for(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    with writer.open("a.txt", "w") as file:
        file.write("ä\n")
    with writer.open("b.txt", "w", encoding="latin-1", newline="\r\n") as file:
        file.write("ä\n")
    with writer.open("c.csv", "w", newline="") as file:
        csv.writer(file).writerow(["a", "b"])
    assert [*files(tmp_path).values()] == [b"\xc3\xa4\n", b"\xe4\r\n", b"a,b\r\n"]


def test_a_block_that_raises_leaves_nothing(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    write(writer, "whole.txt")
    with suppress(KeyError), writer.open("half.txt") as file:
        file.write(b"x" * 500)
        raise KeyError("region")
    # And its bytes do not count any more.
    write(writer, "next.txt", b"x" * 900)
    assert sorted(files(tmp_path)) == [f"{TASK}/1/next.txt", f"{TASK}/1/whole.txt"]


def test_an_attempt_that_does_not_succeed_leaves_nothing(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    write(writer)
    writer.discard()
    assert [*tmp_path.iterdir()] == []


def test_an_attempt_that_is_over_makes_no_more(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    with pytest.raises(PermanentError, match=r"Cannot write late\.txt"), writer.open("late.txt"):
        writer.discard()
    with pytest.raises(RuntimeError, match="the attempt is over"):
        write(writer)
    assert [*tmp_path.iterdir()] == []


def test_a_second_file_of_a_name_replaces_the_first_and_its_bytes(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    for content in (b"x" * 400, b"y" * 500, b"z" * 400):
        write(writer, content=content)
    [artifact] = decoded(writer.keep())
    assert (artifact.size, files(tmp_path)) == (400, {f"{TASK}/1/report.pdf": b"z" * 400})


def test_more_bytes_than_a_task_may_have_fail_the_attempt(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    write(writer, content=b"x" * 600)
    with pytest.raises(PermanentError, match=r"more than 1000 bytes.*AFTERWARDS_MAX"):
        write(writer, "second.pdf", b"x" * 401)
    write(writer, "third.pdf", b"x" * 400)
    assert [one.name for one in decoded(writer.keep())] == ["report.pdf", "third.pdf"]


def test_bytes_that_a_library_writes_past_the_file_object_count(tmp_path: Path) -> None:
    writing = writer_of(tmp_path).open("a.bin")
    os.write(writing.__enter__().fileno(), b"x" * 1_001)
    with pytest.raises(PermanentError, match="more than 1000 bytes"):
        writing.__exit__(None, None, None)
    assert files(tmp_path) == {}


def test_what_is_written_twice_counts_once(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    with writer.open("a.zip") as file:
        for _ in range(3):
            file.seek(0)
            file.write(b"x" * 900)
    assert decoded(writer.keep())[0].size == 900


def test_a_task_has_no_more_than_a_hundred(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    for number in range(100):
        write(writer, f"{number}.txt", b"")
    with pytest.raises(PermanentError, match="at most 100 artifacts"):
        write(writer, "another.txt", b"")
    assert len(decoded(writer.keep())) == len(files(tmp_path)) == 100


def test_what_killed_attempts_have_left_goes_with_the_next_file(tmp_path: Path) -> None:
    for attempt in (1, 2, 10):
        killed = writer_of(tmp_path, attempt)
        write(killed, f"{attempt}.txt")
    write(writer_of(tmp_path, 2))
    assert sorted(files(tmp_path)) == [f"{TASK}/10/10.txt", f"{TASK}/2/report.pdf"]


def test_a_full_disk_is_transient_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TransientError, match=r"^Cannot write report\.pdf: No space left on device"):
        write(writer_of(tmp_path))
    assert files(tmp_path) == {}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_a_disk_that_is_full_while_it_is_written_is_transient_too(tmp_path: Path) -> None:
    writing = writer_of(tmp_path).open("report.pdf")
    file, full = writing.__enter__(), os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file.fileno())
    os.close(full)
    file.write(b"x" * 500)
    with pytest.raises(TransientError, match=r"^Cannot write report\.pdf: No space left"):
        writing.__exit__(None, None, None)
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    "options", [{"mode": "rb"}, {"mode": "ab"}, {"mode": "wb", "encoding": "utf-8"}]
)
def test_other_modes_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="mode"), writer_of(tmp_path).open("a.txt", **options):
        pytest.fail("it was opened")


def test_a_folder_that_was_removed_meanwhile_fails_the_attempt(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    write(writer)
    shutil.rmtree(tmp_path / TASK)
    with pytest.raises(PermanentError, match="No such file or directory"):
        writer.keep()


def test_nothing_is_read_or_made_without_an_artifact(tmp_path: Path) -> None:
    writer = writer_of(tmp_path / "absent")
    assert writer.keep() is None
    writer.discard()
    assert not (tmp_path / "absent").exists()


def test_errors_name_the_file_and_not_its_place(tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as raised, disk_errors.writing(tmp_path / "a.txt"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert str(raised.value) == "Cannot write a.txt: Permission denied"
