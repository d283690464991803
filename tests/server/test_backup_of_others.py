"""Root may do no more in another user's data directory than that user may."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from afterwards.errors import ConfigurationError, NotBackedUp, NotRestored
from afterwards.registry.journal.file import connect, journal_path
from afterwards.registry.process.lock import lock_path
from afterwards.server.backup import back_up, restore
from afterwards.settings import Settings
from afterwards.system.directories import prepare_directories
from tests.registry.peers import make_task
from tests.server.test_backup import files, make_backup

USER: Final = 54_321

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root works for other users")


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A directory of the user's, and where he reaches it, as pytest's own are not."""
    above = Path(tempfile.mkdtemp(dir="/tmp"))
    above.chmod(0o755)
    directory = above / "theirs"
    directory.mkdir(mode=0o700)
    os.chown(directory, USER, USER)
    yield directory
    shutil.rmtree(above)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A backup that only root can read."""
    return make_backup(tmp_path, make_task(order=1))


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.touch(mode=0o600)
    return path


def assert_untouched(victim: Path) -> None:
    assert (victim.stat().st_uid, victim.read_bytes()) == (0, b"")


def owners(directory: Path) -> set[int]:
    return {path.lstat().st_uid for path in (directory, *directory.iterdir())}


def test_all_that_is_restored_belongs_to_the_owner(theirs: Path, file: Path) -> None:
    for former in (None, journal_path(theirs).with_name("journal.sqlite3.replaced")):
        assert restore(theirs, file) == (1, former, [])

    assert files(theirs) == {"journal.sqlite3", "journal.sqlite3.replaced", "registry.lock"}
    assert owners(theirs) == {USER}
    assert restore(theirs, theirs / "journal.sqlite3.replaced")[0] == 1
    assert (os.geteuid(), os.getegid()) == (0, 0)


def test_root_s_backup_of_it_is_root_s(theirs: Path, file: Path, tmp_path: Path) -> None:
    restore(theirs, file)
    back_up(theirs, tmp_path / "copy")

    found = (tmp_path / "copy").stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o600)
    assert owners(theirs) == {USER}


def test_a_backup_in_a_directory_of_theirs_is_theirs(theirs: Path, file: Path) -> None:
    restore(theirs / "data", file)
    back_up(theirs / "data", theirs / "copy")

    assert owners(theirs) == owners(theirs / "data") == {USER}


@pytest.mark.parametrize(
    "name", ["registry.lock", "journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3.replaced"]
)
def test_a_file_of_root_s_that_was_moved_in_stays_root_s(
    theirs: Path, file: Path, victim: Path, name: str
) -> None:
    restore(theirs, file)
    with victim.open("rb") as opened:
        victim.rename(theirs / name)
        with contextlib.suppress(NotRestored):
            restore(theirs, file)

        found = os.fstat(opened.fileno())
    assert (found.st_uid, found.st_size) == (0, 0)


def test_a_lock_of_root_s_is_refused(theirs: Path, file: Path, victim: Path) -> None:
    moved = victim.rename(lock_path(theirs))

    with pytest.raises(NotRestored, match=r"Permission denied \(.*registry\.lock\)"):
        restore(theirs, file)

    assert_untouched(moved)


def swapped_first(connect: Callable[..., Any], victim: Path, prefix: str) -> Callable[..., Any]:
    """`connect`, with the file that it is to open exchanged for a link just before."""

    def connect_after(path: Any, *arguments: Any, **options: Any) -> Any:
        if Path(path).name.startswith(prefix):
            Path(path).unlink(missing_ok=True)
            Path(path).symlink_to(victim)
        return connect(path, *arguments, **options)

    return connect_after


def test_a_copy_that_is_exchanged_for_a_link_is_not_written_through_it(
    theirs: Path, file: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "connect", swapped_first(sqlite3.connect, victim, ".journal"))

    with pytest.raises(NotRestored):
        restore(theirs, file)

    assert_untouched(victim)
    assert files(theirs) == {"registry.lock"}


def test_a_journal_that_is_exchanged_for_a_link_is_not_written_through_it(
    theirs: Path, file: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore(theirs, file)
    name = "afterwards.registry.journal.journal.connect"
    monkeypatch.setattr(name, swapped_first(connect, victim, "journal"))

    with contextlib.suppress(NotRestored):
        restore(theirs, file)

    assert_untouched(victim)


def test_a_data_directory_that_is_exchanged_for_a_link_leads_root_nowhere(
    theirs: Path, file: Path, tmp_path: Path
) -> None:
    roots = tmp_path / "root-s"
    roots.mkdir()
    (theirs / "data").symlink_to(roots)

    with pytest.raises(NotRestored, match=f"user {USER}, as whom root works there, has no access"):
        restore(theirs / "data", file)

    assert files(roots) == set()


def test_a_backup_through_a_link_of_theirs_is_not_written(
    theirs: Path, file: Path, victim: Path
) -> None:
    restore(theirs / "data", file)
    (theirs / "link").symlink_to(victim)

    with pytest.raises(NotBackedUp):
        back_up(theirs / "data", theirs / "link")

    assert_untouched(victim)


@pytest.mark.parametrize("how", ["their directory", "their link"])
def test_root_does_not_serve_a_directory_of_another_user(
    theirs: Path, tmp_path: Path, how: str
) -> None:
    data_dir = theirs
    if how == "their link":
        data_dir = theirs / "link"
        data_dir.symlink_to(tmp_path)
        os.chown(data_dir, USER, USER, follow_symlinks=False)

    with pytest.raises(ConfigurationError, match=rf"DATA_DIR: .* belongs to user {USER}, and root"):
        prepare_directories(Settings(data_dir=data_dir, output_dir=tmp_path / "outputs"))

    assert files(theirs) <= {"link"}
