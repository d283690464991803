"""The artifacts of one attempt while it runs: written aside, whole or not at all, and bounded."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from afterwards.artifacts import MOST_ARTIFACTS, Artifact, encoded, folder, require_name
from afterwards.task_types.disk_errors import sync_directory, writing
from afterwards_executors.retry import PermanentError

_BUFFER_BYTES: Final = 128 * 1024


class ArtifactWriter:
    """Writes what an attempt makes into a folder of its own. From any thread of the attempt.

    Nothing is listed before the attempt has succeeded: another attempt has another folder, and
    which one counts is the registry's to say.

    Args:
        most_bytes: of all artifacts together.
    """

    def __init__(self, output_dir: Path, task_id: str, attempt: int, most_bytes: int) -> None:
        self._output_dir = output_dir
        self._attempt = attempt
        self._most_bytes = most_bytes
        self._parent = folder(output_dir, task_id)
        self._folder = self._parent / str(attempt)
        self._lock = threading.Lock()
        # Below: under its lock.
        self._finished: dict[str, Artifact] = {}
        self._bytes = 0
        self._parts = 0
        self._has_folder = False
        self._is_over = False

    @contextmanager
    def open(
        self,
        name: str,
        mode: str = "wb",
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Iterator[IO[Any]]:
        """As `TaskContext.artifact`."""
        require_name(name)
        is_text = _is_text(mode, encoding, errors, newline)
        path = self._folder / name
        with writing(path):
            part = _Part(self._begin(), path, self._take)
        file: IO[Any] = io.BufferedWriter(part, _BUFFER_BYTES)
        if is_text:
            file = io.TextIOWrapper(file, encoding or "utf-8", errors, newline)
        try:
            yield file
            with writing(path):
                file.close()
                self._finish(part, path)
        except BaseException:
            with contextlib.suppress(Exception):
                # What is left in its buffers has no place to go.
                file.close()
            self._take(-part.size)
            part.path.unlink(missing_ok=True)
            raise

    def add(self, artifact: Artifact) -> None:
        """Take note of a file that was written elsewhere."""
        with self._lock:
            self._require_running()
            self._finished[artifact.name] = artifact

    @property
    def finished(self) -> dict[str, Path]:
        """The artifacts in its folder that are whole, by name."""
        with self._lock:
            made = [one.name for one in self._finished.values() if one.attempt]
        return {name: self._folder / name for name in made}

    def keep(self) -> str | None:
        """End with success: the list of what was made, which is durable; None: nothing was.

        Raises:
            Starved, TransientError, PermanentError: the disk does not hold it.
        """
        with self._lock:
            self._is_over = True
            kept, made = list(self._finished.values()), self._has_folder
        if not kept:
            self.discard()
        elif made:
            with writing(self._folder):
                for place in (self._folder, self._parent, self._output_dir):
                    sync_directory(place)
        return encoded(kept)

    def discard(self) -> None:
        """End without success: nothing stays, as far as it can be removed just now."""
        with self._lock:
            self._is_over = True
            self._finished.clear()
            made, self._has_folder = self._has_folder, False
        if made:
            shutil.rmtree(self._folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self._parent.rmdir()

    # -- how -----------------------------------------------------------------------------------

    def _begin(self) -> Path:
        """The place of another file that is being written."""
        with self._lock:
            self._require_running()
            if not self._has_folder:
                self._make_folder()
                self._has_folder = True
            self._parts += 1
            # No artifact's name begins with a dot.
            return self._folder / f".{self._parts}.part"

    def _make_folder(self) -> None:
        self._parent.mkdir(parents=True, exist_ok=True)
        # What earlier attempts left when they were killed. This attempt's own number may have been
        # used before, too, if the journal was restored from a backup.
        for left in self._parent.iterdir():
            if left.name.isdecimal() and int(left.name) <= self._attempt:
                shutil.rmtree(left)
        self._folder.mkdir()

    def _take(self, size: int) -> None:
        """Count bytes that are being written, or given up.

        Raises:
            PermanentError: they are more than a task may have.
        """
        with self._lock:
            if self._bytes + size > self._most_bytes:
                raise PermanentError(
                    f"The artifacts of the task have more than {self._most_bytes} bytes, the "
                    "limit of AFTERWARDS_MAX_ARTIFACT_BYTES"
                )
            self._bytes += size

    def _finish(self, part: _Part, path: Path) -> None:
        with part.path.open("rb") as written:
            size = os.fstat(written.fileno()).st_size
            # A library may have written past the file object.
            self._take(size - part.size)
            part.size = size
            sha256 = hashlib.file_digest(written, "sha256").hexdigest()
            os.fsync(written.fileno())
        with self._lock:
            self._require_running()
            former = self._finished.get(path.name)
            if former is None and len(self._finished) >= MOST_ARTIFACTS:
                raise PermanentError(f"A task has at most {MOST_ARTIFACTS} artifacts")
            part.path.replace(path)
            self._bytes -= 0 if former is None else former.size
            self._finished[path.name] = Artifact(path.name, size, sha256, self._attempt)

    def _require_running(self) -> None:
        if self._is_over:
            raise RuntimeError("the attempt is over; it can make no more artifacts")


class _Part(io.FileIO):
    """The file that an artifact is written to before it has its name. Counts its bytes."""

    def __init__(self, path: Path, target: Path, take: Callable[[int], None]) -> None:
        # Anew: nothing that somebody has put there is followed or overwritten.
        super().__init__(path, "xb")
        self.path = path
        self.size = 0
        self._target = target
        self._take = take

    def write(self, data: Any) -> int:
        """Write as much as there is room for."""
        with writing(self._target):
            end = self.tell() + memoryview(data).nbytes
            if end > self.size:
                self._take(end - self.size)
                self.size = end
            return super().write(data)


def _is_text(mode: str, *of_text: str | None) -> bool:
    if mode not in ("w", "wt", "wb"):
        raise ValueError(f"an artifact's mode is 'wb' or 'w', not {mode!r}")
    if mode == "wb" and any(option is not None for option in of_text):
        raise ValueError("binary mode takes no encoding, errors or newline")
    return mode != "wb"
