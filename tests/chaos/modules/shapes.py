"""The files that tasks write: known to those who write them, and to those who look at them."""

from __future__ import annotations

from typing import Final

PICTURE: Final = "picture.bin"
TITLE: Final = "title.txt"
VIOLATIONS: Final = "violations"
"""In the directory of the locks: a line for each attempt that was one too many."""

PARTS: Final = 8
"""A picture is written in so many parts, with a pause after each."""


def parts_of(task_id: str, size: int) -> list[bytes]:
    """The parts of a task's picture, together of about `size` bytes."""
    line = f"{task_id}\n".encode()
    return [line * (size // PARTS // len(line))] * PARTS


def picture_of(task_id: str, size: int) -> bytes:
    """The whole picture."""
    return b"".join(parts_of(task_id, size))
