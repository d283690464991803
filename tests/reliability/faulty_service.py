"""A script: `afterwards` whose own task types leave a trace, in whichever process they run."""

from __future__ import annotations

import sys

import harmful  # type: ignore[import-not-found]  # noqa: F401 - has them leave one; found by PYTHONPATH, as hosts find it

if __name__ == "__main__":
    from afterwards.cli import main

    sys.exit(main())
