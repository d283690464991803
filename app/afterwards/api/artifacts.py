"""The files that tasks have made: a list of them, and each for download."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import fastapi
from fastapi import Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.encoding import encoded
from afterwards.api.file_answer import SentFile, file_answer, in_reader
from afterwards.api.references import reference
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas import fields
from afterwards.api.schemas.artifacts import ArtifactList
from afterwards.api.submission import service_of
from afterwards.api.task_document import artifact_members
from afterwards.artifacts import Artifact, decoded
from afterwards.errors import ArtifactGone, ArtifactNotFound, ArtifactUnreadable, NotAllowed
from afterwards.lifecycle import Task
from afterwards.service.hidden import HIDDEN
from afterwards.system.artifact_files import open_artifact

router = new_router("Tasks of any type")

_GONE: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR})
"""Errors of a file that is not in its place, but perhaps a link."""

ArtifactName = Annotated[
    str,
    fastapi.Path(
        description="The name of the artifact, percent-encoded.",
        openapi_examples={"artifact": {"summary": "A name", "value": "report.csv"}},
    ),
]

_NO_TASK: Final = "No task has this id, or the task has no artifact of this name."
_GONE_TASK: Final = (
    "The task was finished and has been deleted, or the file was removed from the output directory."
)


def _field(name: str, description: str, example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


_ETAG: Final = '"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"'
_CONTENT: Final = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_HEADERS: Final = {
    "ETag": fields.header("The SHA-256 of the content.", _ETAG),
    "Content-Disposition": fields.header(
        "Has a browser save the file under its name.", 'attachment; filename="report.csv"'
    ),
}
_RANGE: Final = fields.header("Which bytes of how many.", "bytes 0-1023/4711")


@router.get(
    "/tasks/{task_id}/artifacts",
    summary="List a task's artifacts",
    operation_id="listArtifacts",
    response_model=ArtifactList,
    response_description="The artifacts",
    responses=schemas.answers(*schemas.KNOWN_PROBLEMS),
)
@needs(Role.VIEWER)
async def list_artifacts(task_id: schemas.TaskId, request: Request) -> Response:
    """List the files that the task's successful attempt has made, by name."""
    task = _seen(await service_of(request).get(task_id))
    listed = [
        {**members, "url": reference(request.scope, _path(task.id, members["name"]))}
        for members in artifact_members(task)
    ]
    return Response(
        encoded({"artifacts": listed}),
        headers={"Cache-Control": "no-cache"},
        media_type="application/json",
    )


@router.get(
    "/tasks/{task_id}/artifacts/{name}",
    summary="Download an artifact",
    operation_id="getArtifact",
    response_class=Response,
    response_description="The content",
    responses=schemas.answers(
        404,
        410,
        416,
        503,
        said={
            404: (_NO_TASK, f"Task {fields.EXAMPLE_ID} has no artifact 'report.csv'"),
            410: (_GONE_TASK, f"Task {fields.EXAMPLE_ID} was finished, and has been deleted"),
            416: (
                "The file has none of the bytes of `Range`.",
                "The file has 4711 bytes, and none of the range that was asked for",
            ),
        },
    )
    | {
        200: {"content": _CONTENT, "headers": _HEADERS},
        206: {
            "description": "The bytes of `Range`; several ranges as `multipart/byteranges`.",
            "content": _CONTENT,
            "headers": {**_HEADERS, "Content-Range": _RANGE},
        },
        304: {"description": "The file is the one that `If-None-Match` names."},
    },
    openapi_extra={
        "parameters": [
            _field("Range", "The bytes to send, such as the rest of a download.", "bytes=1024-"),
            _field("If-Range", "An ETag: `Range` counts only if it still holds.", _ETAG),
            fields.IF_NONE_MATCH,
        ]
    },
)
@needs(Role.VIEWER)
async def get_artifact(task_id: schemas.TaskId, name: ArtifactName, request: Request) -> Response:
    """Download a file that the task has made. A browser saves it, and never shows it."""
    task = _seen(await service_of(request).get(task_id))
    found = next((one for one in decoded(task.artifacts) if one.name == name), None)
    if found is None:
        raise ArtifactNotFound(task.id, name)
    file = await _opened(request.app.state.output_dir, task.id, found)
    etag = f'"{found.sha256}"'
    return file_answer(request, SentFile(file, name, found.size, found.media_type, etag))


async def _opened(output_dir: Path, task_id: str, artifact: Artifact) -> io.FileIO:
    def opened() -> io.FileIO:
        return io.FileIO(open_artifact(output_dir, task_id, artifact))

    try:
        return await in_reader(opened)
    except OSError as error:
        # Opened by hand, a file that is not the one that was made has no number.
        if error.errno is None or error.errno in _GONE:
            raise ArtifactGone(task_id, artifact.name) from None
        reason = error.strerror or str(error)
        raise ArtifactUnreadable(task_id, artifact.name, reason) from None


def _seen(task: Task) -> Task:
    if task.payload is HIDDEN:
        raise NotAllowed("Artifacts may hold what payloads do: they need a key with `payloads`")
    return task


def _path(task_id: str, name: str) -> str:
    return f"/tasks/{task_id}/artifacts/{quote(name, safe='')}"
