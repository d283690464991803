"""A task as JSON, put together by hand: payload and result are JSON already.

They may be large, and are not parsed to be written again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from afterwards.api.times import shown_time
from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import AttemptRecord, Details, ProgressMark
from afterwards.service.hidden import HIDDEN
from afterwards.trace_context import attempt_span_id, ids, is_sampled

DIGEST_CHARACTERS: Final = 120

REDACTED: Final = b',"redacted":true'
"""Says that what may not be seen is null, or left out."""

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


def base_document(task: Task, progress: ProgressMark | None = None) -> bytes:
    """The members of a task that every answer has."""
    return b"{%b}" % _base_members(task, progress)


def summary_document(task: Task, progress: ProgressMark | None = None) -> bytes:
    """The same with the beginning of the payload, and without the result."""
    if task.payload is HIDDEN:
        return b"{%b}" % _base_members(task, progress, b'"digest":null')
    text = task.payload.decode(errors="ignore")
    digest = text if len(text) <= DIGEST_CHARACTERS else f"{text[: DIGEST_CHARACTERS - 1]}…"
    return b"{%b}" % _base_members(task, progress, b'"digest":%b' % _encode(digest).encode())


def full_document(
    details: Details,
    *,
    logs: bool = False,
    tracebacks: bool = False,
    trace_link: str | None = None,
) -> bytes:
    """Everything that is known of a task.

    Args:
        logs: what the last attempt that has ended has printed and logged, too.
        tracebacks: of its latest failed attempts, too.
        trace_link: where a trace is shown, as the setting has it.
    """
    task = details.task
    members: dict[str, Any] = {
        "executor": task.executor,
        "timeout_seconds": task.timeout_seconds,
        "deadline": _time_or_none(task.deadline),
        "idempotency_key": task.sent_key,
        "schedule": task.schedule,
        "cancel_requested": task.cancel_requested,
        **_trace(task, trace_link),
        "history": [_attempt(task, record) for record in details.attempts],
    }
    if logs:
        ended = [record for record in details.attempts[-2:] if record.outcome is not None]
        members["log_lines"] = ended[-1].log_lines if ended else ()
    if tracebacks:
        for shown, record in zip(members["history"], details.attempts, strict=True):
            shown["traceback"] = record.traceback
    more = _encode(members).encode()[1:]
    return b"{%b,%b" % (_base_members(task, details.progress), more)


def list_document(tasks: Iterable[bytes], **members: Any) -> bytes:
    """Several tasks' documents, and what goes with them."""
    more = _encode(members).encode()[1:-1]
    return b'{"tasks":[%b]%b%b}' % (b",".join(tasks), b"," if more else b"", more)


def _base_members(task: Task, progress: ProgressMark | None, digest: bytes | None = None) -> bytes:
    content = digest or b'"payload":%b,"result":%b' % (task.payload, task.result or b"null")
    if task.payload is HIDDEN:
        content += REDACTED
    return (
        b'"id":"%b","type":%b,"status":"%b",%b,"error":%b,'
        b'"created_at":"%b","run_at":"%b","started_at":%b,"finished_at":%b,'
        b'"attempts":%d,"retries":%d,"max_attempts":%d,"priority":%d,"progress":%b,'
        b'"labels":%b,"retrying":%b'
        % (
            task.id.encode(),
            _encode(task.type).encode(),
            task.state.encode(),
            content,
            _encode(task.error).encode(),
            shown_time(task.created_at).encode(),
            shown_time(task.run_at).encode(),
            _encode(_time_or_none(task.started_at)).encode(),
            _encode(_time_or_none(task.finished_at)).encode(),
            task.attempt,
            task.retries,
            task.max_attempts,
            task.priority,
            b"null" if progress is None else _progress(progress),
            b"{}" if task.labels is None else task.labels.encode(),
            b"true" if task.is_retrying else b"false",
        )
    )


def _progress(progress: ProgressMark) -> bytes:
    members = {
        "fraction": progress.fraction,
        "message": progress.message,
        "at": shown_time(progress.at),
    }
    return _encode(members).encode()


def _trace(task: Task, link: str | None) -> dict[str, str | None]:
    if task.trace is None:
        return {"trace_id": None, "trace_link": None}
    trace_id = ids(task.trace)["trace_id"]
    # Where spans are not recorded there is nothing to see.
    if link is not None:
        link = link.replace("{trace_id}", trace_id) if is_sampled(task.trace) else None
    return {"trace_id": trace_id, "trace_link": link}


def _attempt(task: Task, record: AttemptRecord) -> dict[str, Any]:
    return {
        "attempt": record.attempt,
        "worker": record.worker,
        "started_at": shown_time(record.started_at),
        "finished_at": _time_or_none(record.finished_at),
        # The wall clock may have been set back while it waited.
        "wait_seconds": round(max(0.0, record.started_at - record.due_at), 6),
        "run_seconds": None if record.run_seconds is None else round(record.run_seconds, 6),
        "outcome": record.outcome,
        "error": record.error,
        "peak_memory_bytes": record.peak_memory_bytes,
        "cpu_seconds": None if record.cpu_seconds is None else round(record.cpu_seconds, 6),
        "span_id": None if task.trace is None else attempt_span_id(task.id, record.attempt),
    }


def _time_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else shown_time(seconds)
