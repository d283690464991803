"""The content of a mail: plain data, which loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Attachment(NamedTuple):
    """A file that goes with a mail."""

    name: str
    media_type: str
    """Two tokens with a `/` between; neither `multipart/…` nor `message/…`, which are no files."""
    content: bytes


@dataclass(frozen=True)
class Mail:
    """A mail before it has a form. Addresses are checked already."""

    to: str
    subject: str
    text: str
    html: str | None = None
    cc: Sequence[str] = ()
    reply_to: str | None = None
    attachments: Sequence[Attachment] = ()

    @property
    def size(self) -> int:
        """About how many bytes there are to be encoded."""
        parts = len(self.text) + len(self.html or "")
        return parts + sum(len(one.content) for one in self.attachments)
