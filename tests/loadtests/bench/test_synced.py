"""A 202 is traced to the sync before it, and a service that does not sync is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.bench import synced
from loadtests.bench.stand import Stand
from loadtests.errors import LoadTestError

WAL = "/data/journal.sqlite3-wal"
UNSYNCED = """
import functools, sqlite3

class Unsynced(sqlite3.Connection):
    def execute(self, sql, *values):
        return super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *values)

sqlite3.connect = functools.partial(sqlite3.connect, factory=Unsynced)
"""


def seen(durability: synced.Durability) -> synced.Durability:
    if durability.unseen:
        pytest.skip(f"strace: {durability.unseen}; make tools gets it")
    return durability


@pytest.mark.parametrize("delay_seconds", [0, 60])
def test_every_202_has_its_own_sync_before_it(stand: Stand, delay_seconds: float) -> None:
    with stand.service(notification_delay_seconds=delay_seconds, grace_seconds=0.1) as service:
        durability = seen(synced.require(service, 20, follow=not delay_seconds))
        assert service.counts().submitted == 20
        # What is measured afterwards is not slowed down by the tracer.
        status = Path(f"/proc/{service.registry_pid()}/status").read_text()
        assert "TracerPid:\t0\n" in status
    assert durability == synced.Durability(traced=20, synced=20)


def test_a_service_that_does_not_sync_gives_no_figures(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every Python process of the service imports this first.
    (tmp_path / "sitecustomize.py").write_text(UNSYNCED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with stand.service() as service:
        assert seen(synced.trace(service, 5)).synced == 0
        with pytest.raises(LoadTestError, match="0 of 5 synced"):
            synced.require(service, 5)


def test_a_sync_that_others_interrupt_is_read_from_both_of_its_lines() -> None:
    lines = [
        f"7 100.500000 fdatasync(5<{WAL}> <unfinished ...>",
        "8 100.600000 fdatasync(6</data/other>) = 0 <0.000100>",
        "7 101.000000 <... fdatasync resumed>) = 0 <0.500000>",
    ]
    assert list(synced.syncs_of(lines)) == [synced.Interval(100.5, 101.0)]


def test_a_whole_line_is_a_sync_that_begins_at_its_time() -> None:
    line = f"7 100.500000 fsync(5<{WAL}>) = 0 <0.250000>"
    assert list(synced.syncs_of([line])) == [synced.Interval(100.5, 100.75)]


@pytest.mark.parametrize(
    "line",
    [
        f"7 100.500000 fdatasync(5<{WAL}>) = -1 EIO (Input/output error) <0.000100>",
        "7 100.500000 fdatasync(5</outputs/a.json>) = 0 <0.000100>",
        "7 100.500000 +++ exited with 0 +++",
        "7 100.500000 --- SIGTERM {si_signo=SIGTERM} ---",
    ],
)
def test_nothing_else_counts_as_a_sync_of_the_journal(line: str) -> None:
    assert list(synced.syncs_of([line])) == []
