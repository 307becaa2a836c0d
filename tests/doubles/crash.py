"""What a driver may do to the process that lists the devices."""

from __future__ import annotations

import os
import sys


def main(argument, report):
    print("LLVM ERROR: no such processor", file=sys.stderr, flush=True)
    os.abort()
