"""`python -m app.registry`: the registry process; started by `app.registry.process` only."""

import sys

from app.registry.manager import main

main(sys.argv[1:])
