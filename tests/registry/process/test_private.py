"""The private directory: what others may have made or changed is not believed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from afterwards.errors import ConfigurationError, NotPrivate
from afterwards.registry.process import private

KEY = b"a key"
STRANGER = 54_321


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "afterwards-12345678"
    private.provide(str(made), KEY)
    return made


def link(path: Path) -> None:
    kept = path.with_name("kept")
    path.rename(kept)
    path.symlink_to(kept)


def link_twice(path: Path) -> None:
    path.with_name("twin").hardlink_to(path)


def open_to_the_group(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def open_to_all(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


def show_to_all(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o004)


def put_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


OF_THE_DIRECTORY = [
    (link, "is a symbolic link"),
    (open_to_the_group, "mode 0720 lets others in"),
    (open_to_all, "mode 0702 lets others in"),
]
OF_THE_KEY = [
    (link, "is a symbolic link"),
    (link_twice, "it has a second name"),
    (open_to_the_group, "mode 0620 lets others in"),
    (show_to_all, "mode 0604 lets others in"),
    (put_a_pipe, "it is no regular file"),
]


def test_a_key_is_read_as_it_was_provided(directory: Path) -> None:
    assert private.read_key(str(directory)) == KEY
    private.provide(str(directory), b"another")
    assert private.read_key(str(directory)) == KEY


@pytest.mark.parametrize(("change", "problem"), OF_THE_DIRECTORY)
def test_a_directory_that_others_may_have_changed_is_not_believed(
    directory: Path, change: Callable[[Path], None], problem: str
) -> None:
    change(directory)
    for use in (private.read_key, lambda path: private.provide(path, KEY)):
        with pytest.raises(NotPrivate, match=rf"{problem}; remove it and start the service again$"):
            use(str(directory))


@pytest.mark.parametrize(("change", "problem"), OF_THE_KEY)
def test_a_key_that_others_may_have_written_is_not_believed(
    directory: Path, change: Callable[[Path], None], problem: str
) -> None:
    change(directory / "authkey")
    with pytest.raises(NotPrivate, match=problem):
        private.read_key(str(directory))


def test_what_another_user_owns_is_not_believed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    with pytest.raises(NotPrivate, match=f"belongs to user {os.getuid()}"):
        private.read_key(str(directory))


def test_a_temporary_directory_with_too_long_a_name_for_a_socket_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    made = Path(private.make())
    try:
        assert len(os.fsencode(made / private.SOCKET)) < 108
        assert made.stat().st_mode & 0o777 == 0o700
    finally:
        made.rmdir()


def test_a_name_of_bytes_counts_by_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("ä" * 45)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    made = Path(private.make())
    made.rmdir()
    assert made.parent != long


def test_no_place_for_it_is_said_as_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(ConfigurationError, match="TMPDIR: no directory for temporary files"):
        private.make()
