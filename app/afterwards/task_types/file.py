"""A JSON file, saved in the output directory under the task's id."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from afterwards.logs import get_logger
from afterwards.system.own_threads import OwnThreads
from afterwards.task_types.base import (
    JsonObject,
    PermanentError,
    TaskContext,
    TaskType,
    TransientError,
)
from afterwards_executors.retry import Starved

log = get_logger(__name__)

_STARVING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""Errors of a process or machine that has run out of something; the file is not at fault."""

_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EINTR})
"""Errors that pass by themselves or when room is made; other errors stay until the place is
repaired, and then the task is retried by hand."""

MAX_INDENTED_CHARACTERS: Final = 64 * 1024
"""More is one line: lists in lists would take a hundred times their space, and seconds."""

_WRITERS: Final = OwnThreads("file-writer", 8)


class FilePayload(BaseModel):
    """The file to save."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"content": {"user": "johndoe", "activity": "export"}}]}
    )

    content: JsonObject


async def _save(payload: FilePayload, context: TaskContext) -> dict[str, str]:
    delay_seconds = context.environment.file_delay_seconds
    if delay_seconds:
        await asyncio.sleep(delay_seconds)
    path = await _WRITERS.run(save_json, payload.content, context)
    return {"message": "File saved", "path": str(path)}


def save_json(content: dict[str, Any], context: TaskContext) -> Path:
    """Write `<output directory>/<task id>.json` whole or not at all, and make it durable.

    Done twice, the second file replaces the first.

    Raises:
        Starved: no descriptor or memory just now.
        TransientError: no room just now.
        PermanentError: the directory cannot be written. All name the file; where it lies is said to
            the log alone, because clients are shown what is raised.
    """
    path = context.environment.output_dir / f"{context.task_id}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path, context.attempt)
        _write_durably(temporary, _text_of(content))
        temporary.replace(path)
        _sync_directory(path.parent)
        _sweep(path, context.attempt)
    except OSError as error:
        raise _failure(_kind_of(error), path, error.strerror or str(error)) from error
    except MemoryError as error:
        raise _failure(Starved, path, "no memory") from error
    return path


def _failure(kind: type[Exception], path: Path, reason: str) -> Exception:
    log.warning("file cannot be written", path=str(path), reason=reason)
    return kind(f"Cannot write {path.name}: {reason}")


def _text_of(content: dict[str, Any]) -> str:
    text = to_json(content).decode()
    if len(text) <= MAX_INDENTED_CHARACTERS:
        text = json.dumps(content, ensure_ascii=False, indent=2)
    return f"{text}\n"


def _kind_of(error: OSError) -> type[Exception]:
    if error.errno in _STARVING:
        return Starved
    return TransientError if error.errno in _PASSING else PermanentError


def _temporary(path: Path, attempt: int) -> Path:
    # Beside its target, so that the rename cannot cross file systems; named after the attempt,
    # because one that was presumed dead may still be writing.
    return path.with_name(f".{path.stem}.{attempt}.tmp")


def _write_durably(path: Path, text: str) -> None:
    # Made anew: what lies under its name may be a link that somebody else has put there.
    path.unlink(missing_ok=True)
    with path.open("x", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _sync_directory(directory: Path) -> None:
    # Without this a power cut can take the name away from a file whose content is safe.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(path: Path, attempt: int) -> None:
    # What earlier attempts left when they were killed while writing. Attempts are few, the files
    # in the directory are not: their names are known, so nothing is listed.
    for earlier in range(1, attempt):
        _temporary(path, earlier).unlink(missing_ok=True)


FILE: Final = TaskType("file", FilePayload, _save)
