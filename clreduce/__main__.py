"""``python -m clreduce``: what is on this machine, whether it works, and how fast it is."""

import sys

from clreduce.cli import main

if __name__ == "__main__":
    sys.exit(main())
