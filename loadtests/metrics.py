"""The counts of `/metrics` that a run checks itself against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

_FINAL: Final = ("success", "failed", "cancelled")


@dataclass(frozen=True)
class Counts:
    """The counts of a service since its journal was made, and of its registry since it started."""

    at: float
    """The moment at which they were read (`time.perf_counter`)."""
    submitted: int
    """Tasks accepted."""
    succeeded: int
    failed: int
    """Or cancelled."""
    unfinished: int
    commits: int
    """Transactions written, of this registry process."""
    commit_seconds: float
    """All of them together."""

    @classmethod
    def parse(cls, text: str, at: float) -> Self:
        """Read Prometheus' text format, as it was at that time."""
        samples = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]

        def total(name: str, *labels: str) -> float:
            return sum(
                float(value)
                for series, _, value in samples
                if series.partition("{")[0] == name
                and (not labels or any(f'state="{label}"' in series for label in labels))
            )

        stored, finished = total("afterwards_tasks"), total("afterwards_tasks", *_FINAL)
        succeeded = total("afterwards_tasks", "success")
        return cls(
            at=at,
            submitted=int(total("afterwards_tasks_submitted_total")),
            succeeded=int(succeeded),
            failed=int(finished - succeeded),
            unfinished=int(stored - finished),
            commits=int(total("afterwards_journal_commit_seconds_count")),
            commit_seconds=total("afterwards_journal_commit_seconds_sum"),
        )
