"""A task as JSON. Payload and result are JSON already, and are not parsed to be written again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from afterwards.api.encoding import REDACTED, encoded, raw
from afterwards.api.times import shown_time
from afterwards.artifacts import decoded
from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import AttemptRecord, Details, KeyWait, ProgressMark
from afterwards.service.hidden import HIDDEN
from afterwards.trace_context import attempt_span_id, ids, is_sampled

DIGEST_CHARACTERS: Final = 120


def base_document(
    task: Task, progress: ProgressMark | None = None, waiting: KeyWait | None = None
) -> bytes:
    """The members of a task that every answer has."""
    return encoded(_members(task, progress, waiting, _content(task)))


def summary_document(
    task: Task, progress: ProgressMark | None = None, waiting: KeyWait | None = None
) -> bytes:
    """The same with the beginning of the payload, and without the result."""
    if task.payload is HIDDEN:
        return encoded(_members(task, progress, waiting, {"digest": None, **REDACTED}))
    text = task.payload.decode(errors="ignore")
    digest = text if len(text) <= DIGEST_CHARACTERS else f"{text[: DIGEST_CHARACTERS - 1]}…"
    return encoded(_members(task, progress, waiting, {"digest": digest}))


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
    history = [_attempt(task, record) for record in details.attempts]
    members: dict[str, Any] = {
        **_members(task, details.progress, details.waiting, _content(task)),
        "executor": task.executor,
        "timeout_seconds": task.timeout_seconds,
        "deadline": _time_or_none(task.deadline),
        "idempotency_key": task.sent_key,
        "schedule": task.schedule,
        "cancel_requested": task.cancel_requested,
        "children": details.children,
        "follows": None if task.follows is None else _follows(task),
        **_trace(task, trace_link),
        "history": history,
    }
    if logs:
        ended = [record for record in details.attempts[-2:] if record.outcome is not None]
        members["log_lines"] = ended[-1].log_lines if ended else ()
    if tracebacks:
        for shown, record in zip(history, details.attempts, strict=True):
            shown["traceback"] = record.traceback
    return encoded(members)


def list_document(tasks: Iterable[bytes], **members: Any) -> bytes:
    """Several tasks' documents, and what goes with them."""
    return encoded({"tasks": list(map(raw, tasks)), **members})


def _members(
    task: Task, progress: ProgressMark | None, waiting: KeyWait | None, content: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": task.id,
        "type": task.type,
        "status": task.state.value,
        **content,
        "error": task.error,
        "created_at": shown_time(task.created_at),
        "run_at": None if task.has_no_time else shown_time(task.run_at),
        "started_at": _time_or_none(task.started_at),
        "finished_at": _time_or_none(task.finished_at),
        "attempts": task.attempt,
        "retries": task.retries,
        "max_attempts": task.max_attempts,
        "priority": task.priority,
        "progress": None if progress is None else _progress(progress),
        "labels": {} if task.labels is None else raw(task.labels),
        "retrying": task.is_retrying,
        "parent": task.parent,
        "group": task.group,
        "concurrency_key": task.concurrency_key,
        "unique_key": task.unique_key,
        "waiting_for": _waiting_for(task, waiting),
    }


def _waiting_for(task: Task, waiting: KeyWait | None) -> dict[str, Any] | None:
    if task.waits_for_group:
        return {"group": task.id}
    if waiting is None:
        return None
    return {"concurrency_key": waiting.key, "holders": waiting.holders}


def _content(task: Task) -> dict[str, Any]:
    content = {
        "payload": raw(task.payload),
        "result": raw(task.result),
        "artifacts": artifact_members(task),
    }
    return {**content, **REDACTED} if task.payload is HIDDEN else content


def artifact_members(task: Task) -> list[dict[str, Any]]:
    """The task's artifacts, by name."""
    return [
        {
            "name": one.name,
            "size": one.size,
            "media_type": one.media_type,
            "sha256": one.sha256,
        }
        for one in sorted(decoded(task.artifacts))
    ]


def _progress(progress: ProgressMark) -> dict[str, Any]:
    return {
        "fraction": progress.fraction,
        "message": progress.message,
        "at": shown_time(progress.at),
    }


def _follows(task: Task) -> dict[str, Any]:
    return {"group": task.id, "on": task.follows, "size": task.members}


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
