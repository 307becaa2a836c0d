"""``python -m clreduce``: a report on the devices of this machine, whether they work, and how fast they are."""

import sys

from clreduce.cli import main

if __name__ == "__main__":
    sys.exit(main())
