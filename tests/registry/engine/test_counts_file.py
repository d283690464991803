"""The registry's counts in memory outlive it, and none is shown before it would."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from afterwards.counts import HTTP_SECONDS, Kept, WorkerCounts
from afterwards.registry.engine.counts_file import CountsFile
from afterwards.registry.protocol.requests import Beat, Scrape, Succeeded
from tests.counters import Counters, counters, fallen
from tests.registry.bench import Bench, SteppedRegistry
from tests.registry.peers import Peer


def http(number: int) -> WorkerCounts:
    cells = (*[0] * len(HTTP_SECONDS), number, number * 10**9)
    events = {("async", "blocked"): number}
    return WorkerCounts({("GET", "/", "200"): number}, {("GET", "/"): cells}, events)


KEPT = Kept(3, {"a": http(1), "": http(2)}, {"wait": {"note": (1, 0.5)}}, 4)
LABELS = (("method", "GET"), ("route", "/"), ("status", "200"))
REQUESTS = ("afterwards_http_requests_total", LABELS)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    CountsFile(tmp_path / "counts").save(KEPT)

    found = CountsFile(tmp_path / "counts").load()

    assert found.of_workers["a"].requests == http(1).requests
    of_ended = found.of_workers[""]
    assert {key: tuple(cells) for key, cells in of_ended.seconds.items()} == http(2).seconds
    assert of_ended.hosts == http(2).hosts
    assert found.histograms == {"wait": {"note": [1, 0.5]}}
    assert found.refused_reports == 4
    assert [path.name for path in tmp_path.iterdir()] == ["counts"]


def test_earlier_counts_do_not_replace_later_ones(tmp_path: Path) -> None:
    file = CountsFile(tmp_path / "counts")
    file.save(KEPT)
    file.save(Kept(2))
    assert file.load().refused_reports == 4


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"http": {"a": 1}}', '{"http": []}'])
def test_a_file_that_is_none_is_told_and_the_counts_begin_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "counts").write_text(text)
    with capture_logs() as lines:
        assert CountsFile(tmp_path / "counts").load() == Kept()
    assert [line["log_level"] for line in lines] == ["warning"]


def test_counts_that_cannot_be_kept_are_told_once(tmp_path: Path) -> None:
    file = CountsFile(tmp_path / "gone" / "counts")
    with capture_logs() as lines:
        file.save(Kept(1))
        file.save(Kept(2))
    assert [line["log_level"] for line in lines] == ["warning"]


def scrape(registry: SteppedRegistry, peer: Peer | None = None, number: int = 0) -> Counters:
    if peer is not None:
        answer = peer.ask(Scrape(http(number)))
    else:
        [answer] = registry.exchange(None, 0, [Scrape()]).answers
    return counters(answer.decode())


def test_no_counter_falls_when_registry_and_workers_die(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "counts"
    journal = bench.journal()
    registry = bench.registry(journal=journal, counts_file=file)
    one, two = bench.peer(registry), bench.peer(registry)
    one.succeed(one.run(bench.task()))
    one.exchange(Succeeded(bench.task().id, 1, b"1", 0.1))
    two.ask(Beat({}, {}, [], http(5)))
    bench.machine.kill(two.worker)
    registry.tick()
    shown = [scrape(registry, one, 7)]
    assert shown[0][REQUESTS] == 12

    for _ in range(2):
        registry = bench.registry(journal=bench.crash(), counts_file=file)
        shown.append(scrape(registry))
        assert fallen(*shown[-2:]) == {}

    again = Peer(registry, one.worker)
    again.join()
    shown.append(scrape(registry, again, 8))
    assert fallen(*shown[-2:]) == {}
    assert shown[-1][REQUESTS] == 13
    bench.machine.kill(one.worker)
    registry = bench.registry(journal=bench.crash(), counts_file=file)
    shown.append(scrape(registry))
    assert fallen(*shown[-2:]) == {}
    assert shown[-1][REQUESTS] == 13


def test_workers_that_died_with_the_registry_are_added_up(bench: Bench, tmp_path: Path) -> None:
    registry = bench.registry(counts_file=tmp_path / "counts")
    peer = bench.peer(registry)
    scrape(registry, peer, 2)
    bench.machine.reboot_observers()
    bench.machine.kill(peer.worker)
    registry = bench.registry(counts_file=tmp_path / "counts")
    assert [*registry.views.of_workers.by_worker()] == [""]
    assert scrape(registry)[REQUESTS] == 2


def test_counts_that_were_not_shown_are_kept_by_an_orderly_end(
    bench: Bench, tmp_path: Path
) -> None:
    registry = bench.registry(counts_file=tmp_path / "counts")
    bench.peer(registry).ask(Beat({}, {}, [], http(5)))
    bench.close()
    assert scrape(bench.registry(counts_file=tmp_path / "counts"))[REQUESTS] == 5
