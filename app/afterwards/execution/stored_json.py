"""The form in which payloads and results are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

# Made once: `json.dumps` with these arguments makes an encoder at each call.
_to_json: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def stored_json(members: Mapping[str, Any]) -> bytes:
    """A JSON object in UTF-8, without spaces.

    Raises:
        TypeError, ValueError, RecursionError: it is none; NaN and infinity are not JSON.
    """
    return _to_json(dict(members)).encode()
