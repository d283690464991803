"""The counts that a registry has in memory, kept for its successor in a file of the service's own.

The file lies beside the registry's socket and goes with the service. It survives the death of a
process, not of the machine, so nothing is synced.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afterwards.counts import HTTP_SECONDS, Kept, WorkerCounts
from afterwards.logs import get_logger

log = get_logger(__name__)


class CountsFile:
    """The counts that are kept; any thread may save.

    Args:
        path: the file; None: nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._saved = 0
        self._fails = False

    def load(self) -> Kept:
        """The counts that were saved last; empty ones if none can be read."""
        if self._path is None:
            return Kept()
        try:
            return _parse(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return Kept()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning(
                "counts of the registry before cannot be read; they begin at 0",
                path=str(self._path),
                error=repr(error),
            )
            return Kept()

    def save(self, kept: Kept) -> None:
        """Keep these counts, unless later ones are kept already. Never raises.

        Where they cannot be kept, a log line says so once, and the counters begin again with the
        next registry.
        """
        if self._path is None:
            return
        text = json.dumps(_document(kept), separators=(",", ":"))
        with self._lock:
            if kept.number <= self._saved:
                return
            try:
                _replace(self._path, text)
            except OSError as error:
                if not self._fails:
                    log.warning(
                        "counts cannot be kept; HTTP counters begin at 0 if the registry dies",
                        path=str(self._path),
                        error=str(error),
                    )
                self._fails = True
            else:
                self._saved, self._fails = kept.number, False


def _replace(path: Path, text: str) -> None:
    # As a whole: a registry may be killed while it writes.
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def _document(kept: Kept) -> dict[str, Any]:
    return {
        "workers": {worker: _worker_document(counts) for worker, counts in kept.of_workers.items()},
        "histograms": {**kept.histograms},
        "refused_reports": kept.refused_reports,
    }


def _worker_document(counts: WorkerCounts) -> dict[str, Any]:
    # JSON has no keys of several parts.
    return {
        "requests": [[*request, number] for request, number in counts.requests.items()],
        "seconds": [[*key, *cells] for key, cells in counts.seconds.items()],
        "hosts": [[*event, number] for event, number in counts.hosts.items()],
    }


def _parse(document: Mapping[str, Any]) -> Kept:
    return Kept(
        of_workers={
            worker: _parse_worker(counts) for worker, counts in document["workers"].items()
        },
        histograms={
            name: {label: [*cells] for label, cells in histogram.items()}
            for name, histogram in document["histograms"].items()
        },
        refused_reports=int(document["refused_reports"]),
    )


def _parse_worker(document: Mapping[str, Any]) -> WorkerCounts:
    size = len(HTTP_SECONDS) + 2
    return WorkerCounts(
        {(method, route, status): number for method, route, status, number in document["requests"]},
        {
            (method, route): cells
            for method, route, *cells in document["seconds"]
            # Another version may have other buckets.
            if len(cells) == size
        },
        {(kind, event): number for kind, event, number in document["hosts"]},
    )
