"""The highest rates of a device: multiply-adds per second, and bytes moved per second."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np

from clreduce.health.timing import timed
from clreduce.runtime.device import Device

_REAL = {"float32": "float", "float64": "double"}
_SHORTEST = 0.004
"""The fewest seconds of a measurement, so that launching a kernel hardly counts."""
_TRIAD_BYTES = {"cpu": 1 << 26, "gpu": 1 << 28}
"""The size of each of three arrays, which is larger than the caches."""

_PEAK = """
#pragma OPENCL FP_CONTRACT ON
{pragma}
__kernel void peak(__global {vector}* out, const int turns, const {real} b, const {real} c) {{
  const size_t item = get_global_id(0);
  {start}
  for (int turn = 0; turn < turns; ++turn) {{
    {step}
  }}
  out[item] = {total};
}}
"""
_TRIAD = """
__kernel void triad(__global float{lanes}* a, __global const float{lanes}* b, __global const float{lanes}* c,
                    const long count) {{
  const long size = get_global_size(0), item = get_global_id(0);
  {loop} a[k] = b[k] + 0.5f * c[k];
}}
"""


def multiply_adds(device: Device, dtype: str, seconds: float) -> tuple[float, float]:
    """The fused multiply-adds per second of all lanes and units together, in kernels that do nothing else.

    On a CPU the rate is relative to processor time, as if no other program ran. The second number is the share of the
    time of the compute units that the kernels got.
    """
    facts = device.facts
    if facts.kind == "gpu":
        variants = [(1, 8), (4, 4)]
    else:
        native = facts.native_float_lanes if dtype == "float32" else facts.native_double_lanes
        # Enough independent chains to hide the latency of one; all of them fit into the registers.
        variants = sorted({(max(native, 1), 8), (max(native, 1), 12), (min(16, max(2 * native, 4)), 6)})
    return max(_peak_of(device, dtype, lanes, chains, seconds / len(variants)) for lanes, chains in variants)


def _peak_of(device: Device, dtype: str, lanes: int, chains: int, seconds: float) -> tuple[float, float]:
    import pyopencl as cl

    real, cpu = _REAL[dtype], device.facts.kind == "cpu"
    vector = real if lanes == 1 else f"{real}{lanes}"
    names = [f"a{n}" for n in range(chains)]
    source = _PEAK.format(
        real=real,
        vector=vector,
        pragma="#pragma OPENCL EXTENSION cl_khr_fp64 : enable" if dtype == "float64" else "",
        start=" ".join(f"{vector} {name} = ({vector})(({real})item + {n});" for n, name in enumerate(names)),
        step=" ".join(f"{name} = {name} * b + c;" for name in names),
        total=" + ".join(names),
    )
    items = device.facts.compute_units * (4 if cpu else 2048)
    group = (1,) if cpu else (min(128, device.facts.max_group),)
    kernel = _built(device, source, "peak")
    out = cl.Buffer(device.context, cl.mem_flags.WRITE_ONLY, items * lanes * np.dtype(dtype).itemsize)
    number = np.dtype(dtype).type

    def run(turns: int) -> None:
        # The values approach c / (1 - b) = 1, so they stay normal numbers.
        kernel(device.queue, (items,), group, out, np.int32(turns), number(0.75), number(0.25))
        device.queue.finish()

    turns = 500
    while turns < 2**28 and timed(partial(run, turns), device, 1).shortest < _SHORTEST:
        turns *= 2
    timing = timed(partial(run, turns), device, seconds=seconds)
    return turns * chains * lanes * items / timing.shortest, timing.share


def bytes_moved(device: Device, seconds: float) -> float:
    """The bytes per second of a = b + s * c on long arrays, two of which are read and one is written."""
    import pyopencl as cl

    facts = device.facts
    cpu = facts.kind == "cpu"
    size = min(_TRIAD_BYTES[facts.kind], facts.max_allocation // 2, facts.global_memory // 8) // 4096 * 4096
    lanes = 8 if cpu else 1
    count = size // 4 // lanes
    # A core of a CPU computes a block of numbers; neighbouring items of a GPU compute neighbouring numbers.
    loop = "for (long k = item; k < count; k += size)"
    if cpu:
        loop = "for (long k = item * count / size; k < (item + 1) * count / size; ++k)"
    kernel = _built(device, _TRIAD.format(lanes="" if lanes == 1 else lanes, loop=loop), "triad")
    a, b, c = (cl.Buffer(device.context, cl.mem_flags.READ_WRITE, size) for _ in range(3))
    for buffer in (a, b, c):  # unwritten pages may share one page of memory
        cl.enqueue_fill_buffer(device.queue, buffer, np.float32(1), 0, size)
    items = facts.compute_units * (2 if cpu else 2048)

    def run() -> None:
        kernel(device.queue, (items,), (1,) if cpu else None, a, b, c, np.int64(count))
        device.queue.finish()

    run()
    best = min(timed(run, device, seconds=seconds).walls)
    for buffer in (a, b, c):
        buffer.release()
    return 3 * size / best


def _built(device: Device, source: str, name: str) -> Any:
    import pyopencl as cl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)  # some drivers warn although the build succeeded
        program = cl.Program(device.context, source).build(["-cl-mad-enable", "-cl-std=CL1.2"])
    return cl.Kernel(program, name)
