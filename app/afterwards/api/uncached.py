"""Answers that are of this moment: no cache keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


def uncached(
    document: dict[str, Any] | bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A document as an answer.

    Args:
        document: bytes are JSON already.
    """
    if not isinstance(document, bytes):
        document = json.dumps(document, separators=(",", ":")).encode()
    kept_by_none = {"Cache-Control": "no-store", **(headers or {})}
    return Response(document, status, kept_by_none, "application/json")
