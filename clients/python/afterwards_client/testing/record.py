"""A task of a fake service, its states, and its documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from afterwards_client.testing.clock import shown
from afterwards_client.testing.problems import illegal

FINAL: Final = frozenset({"success", "failed", "cancelled"})
WAITING: Final = frozenset({"scheduled", "pending"})

_DIGEST_CHARACTERS: Final = 120

_MEDIA_TYPES: Final[Mapping[str, str]] = {
    "csv": "text/csv; charset=utf-8",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "gif": "image/gif",
    "gz": "application/gzip",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain; charset=utf-8",
    "webp": "image/webp",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "zip": "application/zip",
}
_OTHER: Final = "application/octet-stream"


@dataclass
class Record:
    """A task. A test looks at it as a `TaskDetails`."""

    id: str
    number: int
    """Grows with each task."""
    type: str
    payload: dict[str, Any]
    created_at: datetime
    run_at: datetime | None
    max_attempts: int
    executor: str
    status: str = "pending"
    priority: int = 4
    timeout_seconds: float | None = None
    deadline: datetime | None = None
    labels: dict[str, str] = field(default_factory=dict)
    concurrency_key: str | None = None
    unique_key: str | None = None
    callback: dict[str, Any] | None = None
    idempotency_key: str | None = None
    group: str | None = None
    follows: str | None = None
    """The condition for its start, if it follows a batch."""
    members: int = 0
    schedule: str | None = None
    result: Mapping[str, Any] | None = None
    error: str | None = None
    artifacts: dict[str, bytes] = field(default_factory=dict)
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = 0
    retries: int = 0
    retrying: bool = False
    progress: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    is_settled: bool = False
    """True of a task that follows a batch once that has ended."""

    @property
    def is_final(self) -> bool:
        """True if only a retry by hand leaves its state."""
        return self.status in FINAL

    @property
    def waits_for_group(self) -> bool:
        """True if the end of its batch starts it."""
        return self.follows is not None and self.run_at is None and self.status == "scheduled"

    def require(self, verb: str, *states: str) -> None:
        """Raise `Refusal` unless it is in one of these states."""
        if self.status not in states:
            raise illegal(self.id, self.status, verb)

    # -- transitions: each is one of the service's -----------------------------------------------

    def start(self, now: datetime) -> None:
        """An attempt begins."""
        self.require("be started", *WAITING)
        self.attempts += 1
        self.status, self.started_at, self.retrying = "processing", now, False
        self.history.append(
            {
                "attempt": self.attempts,
                "worker": "fake",
                "started_at": shown(now),
                "finished_at": None,
                "wait_seconds": 0.0,
                "run_seconds": None,
                "outcome": None,
                "error": None,
                "peak_memory_bytes": None,
                "cpu_seconds": None,
                "span_id": None,
            }
        )

    def finish(self, status: str, now: datetime, error: str | None = None) -> None:
        """It comes to its end; an attempt that runs ends with it."""
        outcomes = {"success": "success", "failed": "failure", "cancelled": "cancelled"}
        self._end_attempt(outcomes[status], now, error)
        self.status, self.finished_at, self.error = status, now, error
        self.progress, self.retrying = None, False

    def back_off(self, error: str, run_at: datetime, now: datetime) -> None:
        """Its attempt failed, and another one follows."""
        self._end_attempt("failure", now, error)
        self.status, self.run_at, self.error = "scheduled", run_at, error
        self.progress, self.retrying = None, True

    def retry(self, now: datetime, run_at: datetime | None) -> None:
        """It gets a fresh round of attempts."""
        self.require("be retried", "failed", "cancelled")
        due = now if run_at is None else max(now, run_at)
        self.status = "scheduled" if due > now else "pending"
        self.run_at, self.result, self.error = due, None, None
        self.started_at, self.finished_at = None, None
        self.retries += 1

    def _end_attempt(self, outcome: str, now: datetime, error: str | None) -> None:
        if self.status == "processing":
            self.history[-1] |= {
                "finished_at": shown(now),
                "run_seconds": 0.0,
                "outcome": outcome,
                "error": error if outcome == "failure" else None,
            }

    # -- documents -----------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """The task as every answer has it."""
        content = {
            "payload": self.payload,
            "result": self.result,
            "artifacts": [artifact(name, data) for name, data in sorted(self.artifacts.items())],
        }
        return self._facts() | content

    def summary(self) -> dict[str, Any]:
        """The task as a list of summaries has it."""
        text = json.dumps(self.payload, ensure_ascii=False, separators=(",", ":"))
        is_short = len(text) <= _DIGEST_CHARACTERS
        digest = text if is_short else f"{text[: _DIGEST_CHARACTERS - 1]}…"
        return self._facts() | {"digest": digest}

    def details(self, *, logs: bool = False, tracebacks: bool = False) -> dict[str, Any]:
        """Everything that is known of it."""
        follows = {"group": self.id, "on": self.follows, "size": self.members}
        found = self.document() | {
            "executor": self.executor,
            "timeout_seconds": self.timeout_seconds,
            "deadline": shown(self.deadline),
            "idempotency_key": self.idempotency_key,
            "schedule": self.schedule,
            "cancel_requested": False,
            "children": 0,
            "follows": None if self.follows is None else follows,
            "trace_id": None,
            "trace_link": None,
            "history": [dict(one) for one in self.history],
        }
        if logs:
            found["log_lines"] = []
        if tracebacks:
            for attempt in found["history"]:
                attempt["traceback"] = None
        return found

    def _facts(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": self.type,
            "status": self.status,
            "error": self.error,
            "created_at": shown(self.created_at),
            "run_at": shown(self.run_at),
            "started_at": shown(self.started_at),
            "finished_at": shown(self.finished_at),
            "attempts": self.attempts,
            "retries": self.retries,
            "max_attempts": self.max_attempts,
            "priority": self.priority,
            "progress": self.progress,
            "labels": dict(self.labels),
            "retrying": self.retrying,
            "parent": None,
            "group": self.group,
            "concurrency_key": self.concurrency_key,
            "unique_key": self.unique_key,
            "waiting_for": {"group": self.id} if self.waits_for_group else None,
        }


def artifact(name: str, data: bytes) -> dict[str, Any]:
    """An artifact as a task lists it."""
    return {
        "name": name,
        "size": len(data),
        "media_type": _MEDIA_TYPES.get(name.rpartition(".")[2].lower(), _OTHER),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
