"""A JSON file, saved in the output directory under the task's id."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from afterwards.artifacts import Artifact, own_file, own_part
from afterwards.system.own_threads import OwnThreads
from afterwards.task_types.base import JsonObject, TaskContext, TaskType
from afterwards.task_types.context import artifacts_of
from afterwards.task_types.disk_errors import sync_directory, writing

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

    Done twice, the second file replaces the first. It is an artifact of the task.

    Raises:
        Starved, TransientError, PermanentError: as `disk_errors.writing`.
    """
    path = context.environment.output_dir / own_file(context.task_id)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path, context.task_id, context.attempt)
        data = _text_of(content).encode()
        _write_durably(temporary, data)
        temporary.replace(path)
        sync_directory(path.parent)
        _sweep(path, context)
    digest = hashlib.sha256(data).hexdigest()
    artifacts_of(context).add(Artifact(path.name, len(data), digest, attempt=0))
    return path


def _text_of(content: dict[str, Any]) -> str:
    text = to_json(content).decode()
    if len(text) <= MAX_INDENTED_CHARACTERS:
        text = json.dumps(content, ensure_ascii=False, indent=2)
    return f"{text}\n"


def _temporary(path: Path, task_id: str, attempt: int) -> Path:
    # Beside its target, so that the rename cannot cross file systems; named after the attempt,
    # because one that was presumed dead may still be writing.
    return path.with_name(own_part(task_id, attempt))


def _write_durably(path: Path, data: bytes) -> None:
    # Made anew: what lies under its name may be a link that somebody else has put there.
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _sweep(path: Path, context: TaskContext) -> None:
    # What earlier attempts left when they were killed while writing. Attempts are few, the files
    # in the directory are not: their names are known, so nothing is listed.
    for earlier in range(1, context.attempt):
        _temporary(path, context.task_id, earlier).unlink(missing_ok=True)


FILE: Final = TaskType("file", FilePayload, _save)
