"""Imports of others' packages without what only they could use."""

from __future__ import annotations

import sys


def import_structlog_alone() -> None:
    """Import structlog, unless it is imported, as if rich were not installed.

    It would import rich to draw tracebacks, which are plain lines here: 100 modules, and half of
    the time that it takes. Not for processes of task code, which may want such tracebacks.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    # By the language's rules an import of it fails until this entry is gone.
    sys.modules["rich"] = None  # type: ignore[assignment] # the stubs do not know of it
    try:
        __import__("structlog")
    finally:
        del sys.modules["rich"]
