"""`python -m afterwards.registry`: the registry process; only `registry.process` starts it."""

import sys

from afterwards.registry.manager import main

main(sys.argv[1:])
