"""`python -m afterwards.registry.process`: the registry process; `supervised` starts it."""

import sys

from afterwards.system.lean_imports import import_structlog_alone

import_structlog_alone()

from afterwards.registry.process.body import main  # noqa: E402 - it imports structlog

main(sys.argv[1:])
