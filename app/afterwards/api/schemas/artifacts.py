"""The answers about the files of a task."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

from afterwards.api.schemas.fields import EXAMPLE_ID, Redacted, example


class ArtifactDocument(BaseModel):
    """A file that a task has made. Once the task is finished, it never changes."""

    name: str = Field(description="The last part of its path, below the task's `/artifacts/`.")
    size: int = Field(ge=0, description="Bytes.")
    media_type: str = Field(
        description="By the end of the name; `application/octet-stream` where that may be unsafe."
    )
    sha256: str = Field(description="The SHA-256 of its content, in hexadecimal; also its ETag.")


_ARTIFACT: Final[dict[str, Any]] = {
    "name": "report.csv",
    "size": 4711,
    "media_type": "text/csv; charset=utf-8",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}


class LinkedArtifact(ArtifactDocument):
    """The same, with its place."""

    url: str = Field(
        json_schema_extra={"format": "uri-reference"},
        description="Its content, relative to the request's URL.",
    )


class ArtifactList(Redacted):
    """The files of a task, by name."""

    model_config = example(
        artifacts=[{**_ARTIFACT, "url": f"../../tasks/{EXAMPLE_ID}/artifacts/report.csv"}]
    )

    artifacts: list[LinkedArtifact]
