"""How long would NumPy take for the densities of the galaxies, row by row? Processor time of some rows, scaled to all.

    python benchmarks/numpy_rows.py > benchmarks/results/numpy-rows-DATE.txt

The example ``examples/galaxy_density.py`` adds up 10^12 terms, which no NumPy program waits for. So this script takes
30 rows at random, measures the processor time of each, and multiplies the median by the number of rows. It does so for
two programs. The first is the line that one writes. The second is written with care: each coordinate is contiguous, and
all steps work in place, so that NumPy passes through memory less often.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from galaxy_density import WIDTH, Array, catalogue
from suite.machine import processor

ROWS = 30


def as_one_writes_it(x: Array) -> Callable[[int], float]:
    return lambda i: float(np.exp(((x - x[i]) ** 2).sum(-1) / (-2 * WIDTH**2)).mean())


def with_care(x: Array) -> Callable[[int], float]:
    coordinates = np.ascontiguousarray(x.T)
    total, part = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)

    def density(i: int) -> float:
        total[:] = 0
        for coordinate in coordinates:
            np.subtract(coordinate, coordinate[i], out=part)
            np.multiply(part, part, out=part)
            np.add(total, part, out=total)
        np.multiply(total, -1 / (2 * WIDTH**2), out=total)
        return float(np.exp(total, out=total).mean())

    return density


def seconds_of_a_row(density: Callable[[int], float], rows: Array) -> float:
    seconds = []
    for i in rows:
        start = time.process_time()
        density(int(i))
        seconds.append(time.process_time() - start)
    return median(seconds)


def main() -> None:
    x = catalogue(np.random.default_rng(3), 1_000_000)
    rows = np.random.default_rng(0).choice(len(x), ROWS, replace=False)
    print(f"{date.today()}, {processor()}, numpy {np.__version__}")
    print(f"processor time of {len(x)} rows of {len(x)} terms each, from the median of {ROWS} rows\n")
    for dtype in ("float32", "float64"):
        for name, program in (("as one writes it", as_one_writes_it), ("with care", with_care)):
            seconds = seconds_of_a_row(program(x.astype(dtype)), rows)
            print(f"{dtype}  {name:<16}  {1e3 * seconds:6.2f} ms a row  {seconds * len(x) / 3600:5.2f} hours")


if __name__ == "__main__":
    main()
