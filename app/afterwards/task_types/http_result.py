"""The result of an HTTP request: the answer as JSON, bounded, and without secrets."""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Iterable
from typing import Any, Final

from afterwards.outgoing.calls import Answer

MASK: Final = "**********"

_KEPT: Final = (
    *("content-encoding", "content-language", "content-length", "content-location"),
    *("content-type", "date", "etag", "last-modified", "link", "location", "retry-after"),
    *("request-id", "x-correlation-id", "x-request-id"),
)
"""The headers of an answer that the result has; cookies are not among them."""
_HEADER_CHARACTERS: Final = 1_024
_EXCERPT_CHARACTERS: Final = 500
_REST_BYTES: Final = 256
"""The size of a result without its headers, its URL and the body."""


class Masks:
    """Puts `MASK` in the place of secrets, should an answer repeat them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # In JSON some characters are escaped.
        spellings = {one for secret in secrets for one in (secret, json.dumps(secret)[1:-1])}
        self._secrets = sorted(spellings, key=len, reverse=True)
        self.longest = max(map(len, spellings), default=0)

    def text(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def data(self, data: bytes) -> bytes:
        """The bytes without secrets."""
        for secret in self._secrets:
            data = data.replace(secret.encode(), MASK.encode())
        return data


def result_of(answer: Answer, store: int, masks: Masks, most_bytes: int) -> dict[str, Any]:
    """The result of a task: status, URL, some headers and the body's beginning.

    Args:
        store: the number of bytes of the body to keep.
        most_bytes: the bound of the whole result as JSON; the body is cut to fit.
    """
    whole = masks.data(answer.body)
    if not answer.is_whole:
        # The end may have cut a secret in two, which was not found.
        whole = whole[: len(whole) - masks.longest]
    result = {
        "status": answer.status,
        "url": masks.text(answer.url),
        "headers": {
            name: masks.text(value)[:_HEADER_CHARACTERS]
            for name in _KEPT
            if (value := answer.header(name)) is not None
        },
    }
    room = most_bytes - len(json.dumps(result)) - _REST_BYTES
    kept = whole[:store]
    while kept and len(json.dumps(_body(kept), ensure_ascii=False).encode()) > room:
        kept = kept[: len(kept) // 2]
    truncated = not answer.is_whole or len(kept) < len(whole)
    return {**result, **_body(kept, is_cut=truncated), "truncated": truncated}


def excerpt_of(answer: Answer, masks: Masks) -> str:
    """The beginning of the body, for the log."""
    return masks.data(answer.body).decode(errors="replace")[:_EXCERPT_CHARACTERS]


def _body(data: bytes, *, is_cut: bool = True) -> dict[str, str]:
    """The body as text if it is UTF-8, otherwise in base64."""
    try:
        # A character that the end cuts in two is left out.
        text = codecs.getincrementaldecoder("utf-8")().decode(data, final=not is_cut)
    except UnicodeDecodeError:
        return {"body": base64.b64encode(data).decode("ascii"), "encoding": "base64"}
    return {"body": text, "encoding": "utf-8"}
