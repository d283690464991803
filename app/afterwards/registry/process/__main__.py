"""`python -m afterwards.registry.process`: the registry process; `supervised` starts it."""

import sys

from afterwards.registry.process.manager import main

main(sys.argv[1:])
