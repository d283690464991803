"""`python -m afterwards.cli`: the same as the console script `afterwards`."""

import sys

from afterwards.cli import main

if __name__ == "__main__":
    sys.exit(main())
