"""Times of calls: elapsed time and processor time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from clreduce.runtime.device import Device


@dataclass(frozen=True)
class Timing:
    """The times of several equal calls, in seconds."""

    walls: tuple[float, ...]
    """The elapsed times."""
    processors: tuple[float, ...]
    """The processor times of a CPU, divided by the number of its compute units. On other devices, the elapsed times."""

    @property
    def median(self) -> float:
        """The median of the elapsed times."""
        return statistics.median(self.walls)

    @property
    def shortest(self) -> float:
        """The shortest of the processor times, which other programs hardly change."""
        return min(self.processors)

    @property
    def share(self) -> float:
        """The part of the compute units' time that the calls got. Other programs, and units that wait, make it less."""
        return min(1.0, sum(self.processors) / max(sum(self.walls), 1e-9))


def timed(run: Callable[[], object], device: Device, calls: int = 3, seconds: float = 0.0) -> Timing:
    """The times of at least ``calls`` calls, and of more until ``seconds`` are over. ``run`` waits for its result."""
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
