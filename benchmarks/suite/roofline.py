"""The most fused multiply-adds per second that a device does, by a kernel that does nothing else."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np

from suite.measure import timed

LANES = (4, 8, 16)
CHAINS = (6, 8, 12)
"""Multiply-adds in flight at once. They must cover the latency of one (4 cycles, two per cycle), and yet the values
must fit into the registers, of which a vector of 16 lanes may need two or four."""
ITEMS_PER_UNIT = 4
SHORTEST = 0.005  # seconds of one measurement, so that launching it does not count
REPEATS = 20

SOURCE = """
#pragma OPENCL FP_CONTRACT ON
__kernel void peak(__global {real}{lanes}* out, const int turns, const {real} b, const {real} c) {{
  const size_t item = get_global_id(0);
  {start}
  for (int turn = 0; turn < turns; ++turn) {{
    {step}
  }}
  out[item] = {total};
}}
"""


def source(real: str, lanes: int, chains: int) -> str:
    """A kernel with that many independent chains of a * b + c on vectors."""
    names = [f"a{n}" for n in range(chains)]
    return SOURCE.format(
        real=real, lanes=lanes,
        start=" ".join(f"{real}{lanes} {a} = ({real}{lanes})(({real})item + {n});" for n, a in enumerate(names)),
        step=" ".join(f"{a} = {a} * b + c;" for a in names), total=" + ".join(names),
    )  # fmt: skip


def fma_peak(device: Any, dtype: str) -> float:
    """Multiply-adds per second of all lanes and cores together: the best of `LANES` and `CHAINS`.

    On a CPU from the processor time that was used, as if all cores had computed all the while. On a machine with other
    work to do they do not, and by the clock the peak would come out too low.
    """
    return max(_rate(device, dtype, lanes, chains) for lanes in LANES for chains in CHAINS)


def _rate(device: Any, dtype: str, lanes: int, chains: int) -> float:
    import pyopencl as cl

    real = {"float32": "float", "float64": "double"}[dtype]
    cpu, units = device.facts.kind == "cpu", device.facts.compute_units
    items = ITEMS_PER_UNIT * units * (1 if cpu else 1024)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)  # some drivers report that all went well
        program = cl.Program(device.context, source(real, lanes, chains)).build(["-cl-mad-enable"])
    kernel = cl.Kernel(program, "peak")
    out = cl.Buffer(device.context, cl.mem_flags.WRITE_ONLY, items * lanes * np.dtype(dtype).itemsize)
    number = np.dtype(dtype).type

    def run(turns: int) -> None:
        # The values run towards c / (1 - b) = 1 and stay normal numbers.
        kernel(device.queue, (items,), (1,) if cpu else None, out, np.int32(turns),
               number(0.75), number(0.25))  # fmt: skip
        device.queue.finish()

    def seconds(turns: int) -> float:
        timing = timed(partial(run, turns))
        return timing.cpu / units if cpu else timing.wall

    turns = 1000
    while seconds(turns) < SHORTEST:
        turns *= 2
    return turns * chains * lanes * items / min(seconds(turns) for _ in range(REPEATS))
