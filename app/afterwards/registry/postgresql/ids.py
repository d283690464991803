"""Ids of tasks as the database can look them up."""

from __future__ import annotations

import re
from typing import Final

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


def is_id(text: str) -> bool:
    """True if a task may have this id.

    Any other would be an error to the database, or found under another spelling.
    """
    return _ID.fullmatch(text) is not None
