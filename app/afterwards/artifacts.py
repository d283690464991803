"""Artifacts, the files that a task makes: their names, a task's list of them, their places.

An attempt has a folder of its own, `<output directory>/<task id>/<attempt>/`, so that no two
attempts write one file. The type `file` has always had `<output directory>/<task id>.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

MOST_ARTIFACTS: Final = 100
"""The number that one task may have."""

MOST_NAME_BYTES: Final = 200
"""File systems take 255."""

MOST_LIST_BYTES: Final = 64 * 1024
"""The size of a list, encoded: more than `MOST_ARTIFACTS` of the longest names have."""

_OTHER: Final = "application/octet-stream"
_MEDIA_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
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
)
"""By the end of a name. No type that a browser runs scripts of: HTML, SVG and XML are `_OTHER`."""

_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
"""Names of devices on Windows, with any extension."""
_FORBIDDEN: Final = frozenset('<>:"/\\|?*')
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Artifact(NamedTuple):
    """A file that a task has made. It never changes."""

    name: str
    """As `require_name` takes it."""
    size: int
    """Bytes."""
    sha256: str
    """The digest of its content, in hexadecimal."""
    attempt: int
    """The attempt that has made it, in whose folder it lies. 0: it lies in the output directory
    itself."""

    @property
    def media_type(self) -> str:
        """The media type that the end of its name stands for."""
        return _MEDIA_TYPES.get(self.name.rpartition(".")[2].lower(), _OTHER)


def require_name(name: object) -> None:
    """Have a name be one that every file system, browser and shell takes for a file's.

    Raises:
        ValueError: it is not.
    """
    problem = _problem(name)
    if problem is not None:
        raise ValueError(f"{name!r:.300} cannot be the name of an artifact: {problem}")


def _problem(name: object) -> str | None:
    if not isinstance(name, str) or not name:
        return "it is no text, or empty"
    # Before all else: what is printable can be encoded.
    if not name.isprintable():
        return "it has a control character, or another that is not printed"
    if len(name.encode()) > MOST_NAME_BYTES:
        return f"it has more than {MOST_NAME_BYTES} bytes"
    if name.startswith(".") or name != name.strip(" ") or name.endswith("."):
        return "it begins with a dot or space, or ends with one"
    forbidden = _FORBIDDEN.intersection(name)
    if forbidden:
        return f"it has {' '.join(sorted(forbidden))}"
    return "Windows reserves it" if _RESERVED.match(name) else None


# -- lists -------------------------------------------------------------------------------------


def encoded(artifacts: Sequence[Artifact]) -> str | None:
    """A task's list as it travels and is stored; None: it is empty."""
    if not artifacts:
        return None
    return json.dumps(artifacts, ensure_ascii=False, separators=(",", ":"))


def decoded(text: str | None) -> list[Artifact]:
    """The inverse of `encoded`, of a list that was checked."""
    return [] if text is None else [Artifact(*one) for one in json.loads(text)]


def checked(data: bytes, task_id: str, attempt: int) -> str | None:
    """A list that an attempt has sent, encoded; it comes from a child, so anything may be in it.

    Raises:
        ValueError: it is no list of what this attempt can have made.
    """
    if len(data) > MOST_LIST_BYTES:
        raise ValueError(f"a list of artifacts has at most {MOST_LIST_BYTES} bytes")
    try:
        found = [Artifact(*one) for one in json.loads(data)]
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no list of artifacts: {error}") from None
    for one in found:
        _require_possible(one, task_id, attempt)
    if len(found) > MOST_ARTIFACTS or len({one.name for one in found}) != len(found):
        raise ValueError(f"at most {MOST_ARTIFACTS} artifacts, each of another name")
    return encoded(found)


def _require_possible(artifact: Artifact, task_id: str, attempt: int) -> None:
    require_name(artifact.name)
    name, size, sha256, made_by = cast("tuple[Any, ...]", artifact)
    if type(size) is not int or size < 0:
        raise ValueError(f"{name!r} has no size")
    if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None:
        raise ValueError(f"{name!r} has no digest")
    if type(made_by) is not int or made_by not in (0, attempt):
        raise ValueError(f"{name!r} is of another attempt")
    if made_by == 0 and name != own_file(task_id):
        raise ValueError(f"{name!r} is not the task's own file")


# -- places ------------------------------------------------------------------------------------


def folder(output_dir: Path, task_id: str) -> Path:
    """The folder of all that a task's attempts make."""
    return output_dir / task_id


def own_file(task_id: str) -> str:
    """The name of the file of the type `file`, which lies in the output directory itself."""
    return f"{task_id}.json"


def own_part(task_id: str, attempt: int) -> str:
    """The name of that file while an attempt writes it."""
    return f".{task_id}.{attempt}.tmp"
