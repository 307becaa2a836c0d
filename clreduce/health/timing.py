"""Times of calls, by the clock and by the processor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from clreduce.runtime.device import Device


@dataclass(frozen=True)
class Timing:
    """Seconds of the same call, made several times."""

    walls: tuple[float, ...]
    """By the clock."""
    processors: tuple[float, ...]
    """On a CPU, processor time divided by the number of its units, as if all had worked all the while; else by the
    clock."""

    @property
    def median(self) -> float:
        """By the clock."""
        return statistics.median(self.walls)

    @property
    def shortest(self) -> float:
        """Of processor time, which other programs hardly change."""
        return min(self.processors)

    @property
    def share(self) -> float:
        """The part of the units' time that the calls got; less than 1 where other programs run, or units wait."""
        return min(1.0, sum(self.processors) / max(sum(self.walls), 1e-9))


def timed(run: Callable[[], object], device: Device, calls: int = 3, seconds: float = 0.0) -> Timing:
    """The times of at least ``calls`` calls, and of more while ``seconds`` last. ``run`` waits for its result."""
    on_cpu, units = device.facts.kind == "cpu", device.facts.compute_units
    walls: list[float] = []
    processors: list[float] = []
    end = time.perf_counter() + seconds
    while len(walls) < calls or (time.perf_counter() < end and len(walls) < 1000):
        start, used = time.perf_counter(), time.process_time()
        run()
        walls.append(time.perf_counter() - start)
        processors.append((time.process_time() - used) / units if on_cpu else walls[-1])
    return Timing(tuple(walls), tuple(processors))
