"""The speed of a device, compared with the highest rate of its arithmetic.

The formula of a workload gives the number of operations for each pair (`clreduce.codegen.cost`). The measured peak of
the device, divided by this number, is the highest possible number of pairs per second. Healthy devices reach 0.6 to 1.2
times this value. It can be more than 1 because the count for an exponential is higher than its real cost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Protocol, cast

import numpy as np

from clreduce.codegen.cost import written_out
from clreduce.health.machine import processor_flags, processor_frequency
from clreduce.health.records import PeakEntry, SpeedEntry, SpeedReport
from clreduce.health.roofline import bytes_moved, multiply_adds
from clreduce.health.timing import timed
from clreduce.numpy import Genred
from clreduce.program import MapReduce
from clreduce.runtime.device import Device
from clreduce.runtime.devices import use_device
from clreduce.typing import Array

HEALTHY = 0.4
"""A workload is as fast as expected if it reaches this part of the highest possible number of pairs per second."""
_BUSY = 0.75
"""Kernels that get at least this part of the processor's time count as undisturbed."""
_PER_CYCLE = 0.5
"""A processor with fewer multiply-adds of full vectors per cycle is slower than it should be."""
_SIZES = {"cpu": 6000, "gpu": 40000}
_ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"]


@dataclass(frozen=True)
class Peak:
    """The highest rates of a device for numbers of one dtype."""

    dtype: str
    multiply_adds: float
    """The number of multiply-adds per second."""
    share: float
    """The part of the processor's time that the kernels got; 1 on a GPU."""


class _Compute(Protocol):
    def __call__(self, x: Array, y: Array, b: Array) -> object: ...


def measure(device: Device, seconds: float) -> SpeedReport:
    """The speed of a device, as plain values. The measurement takes about ``seconds``."""
    dtypes = ("float32", "float64") if device.facts.has_double else ("float32",)
    part = seconds / 10
    with use_device(device):
        peaks = {dtype: Peak(dtype, *multiply_adds(device, dtype, part)) for dtype in dtypes}
        bandwidth = bytes_moved(device, part / 2)
        latency = _small_call(device, part / 2)
        speeds = [speed for dtype in dtypes for speed in _workloads(device, peaks[dtype], part)]
    return {
        "schema": 1,
        "device": {"name": device.name, "identity": device.identity, "kind": device.facts.kind},
        "peaks": [cast(PeakEntry, asdict(peak)) for peak in peaks.values()],
        "bytes_per_second": bandwidth,
        "small_call_microseconds": 1e6 * latency,
        "workloads": speeds,
        "remarks": list(_remarks(device, peaks["float32"])),
    }


def _small_call(device: Device, seconds: float) -> float:
    routine = Genred("Exp(-SqDist(x, y)) * b", _ALIASES, axis=1)
    arrays = _data("float32", 100)
    routine(*arrays)
    return timed(partial(routine, *arrays), device, 20, seconds).median


def _data(dtype: str, size: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    x, y, b = (rng.normal(size=(size, length)).astype(dtype) for length in (3, 3, 1))
    return x, y, b


def _workloads(device: Device, peak: Peak, seconds: float) -> Iterator[SpeedEntry]:
    gaussian = Genred("Exp(-SqDist(x, y)) * b", _ALIASES, axis=1)
    nearest = Genred("SqDist(x, y)", _ALIASES[:2], "ArgKMin", axis=1, opt_arg=10)
    gradients = gaussian.program.vjp([0, 1, 2])
    for name, operations, call in (
        ("Gaussian sum", _operations(gaussian.program), lambda x, y, b: gaussian(x, y, b)),
        (
            "its gradients",
            sum(_operations(gradient.program) for gradient in gradients),
            lambda x, y, b: gaussian.vjp(x, y, b, cotangent=b),
        ),
        ("10 nearest neighbours", _operations(nearest.program), lambda x, y, b: nearest(x, y)),
    ):
        yield _speed(device, peak, seconds, name, operations, call)


def _operations(program: MapReduce) -> int:
    """The number of operations for each pair: those of the term, and its addition."""
    return written_out(program.values, sys.maxsize) + sum(int(value.dim) for value in program.values)


def _speed(device: Device, peak: Peak, seconds: float, name: str, operations: int, call: _Compute) -> SpeedEntry:
    size = _SIZES[device.facts.kind]
    start = time.perf_counter()
    call(*_data(peak.dtype, 64))  # builds the kernels
    building = time.perf_counter() - start
    # A slow device gets fewer points, so that a few calls fit into the time.
    arrays = _data(peak.dtype, 600)
    probe = timed(partial(call, *arrays), device, 2).median
    while size > 600 and probe * (size / 600) ** 2 * 4 > seconds:
        size //= 2
    arrays = _data(peak.dtype, size)
    call(*arrays)
    timing = timed(partial(call, *arrays), device, 5, max(seconds - building, seconds / 2))
    pairs = size * size / timing.median
    roofline = pairs * operations / (2 * peak.multiply_adds)
    verdict = "as expected" if roofline >= HEALTHY else f"slow: {_cause(device, timing.share)}"
    return {
        "workload": name, "dtype": peak.dtype, "rows": size, "columns": size, "milliseconds": 1e3 * timing.median,
        "pairs": pairs, "operations": operations, "roofline": roofline, "share": timing.share, "verdict": verdict,
    }  # fmt: skip


def _cause(device: Device, share: float) -> str:
    """The likely cause of a slow workload, and advice."""
    facts = device.facts
    if facts.kind == "cpu" and share < _BUSY:
        return (
            "other programs use the processor; measure again when they have ended (for the threads of PyTorch, set "
            "OMP_WAIT_POLICY=PASSIVE)"
        )
    if facts.driver == "pocl" and facts.kind == "cpu" and (facts.llvm_version or 0) < 15:
        return "this PoCL has an old compiler; try a newer PoCL, or Intel's driver"
    if facts.driver == "oclgrind":
        return "this is a simulator; use another device"
    if facts.driver == "other":
        return (
            "the compiler of this driver makes slow code; try clreduce.tune on your formula, or PoCL or Intel's driver"
        )
    return "the default schedule does not suit this device; try clreduce.tune on your formula, and report it"


def _remarks(device: Device, peak: Peak) -> Iterator[str]:
    """Remarks on a measured peak that is too low, in words."""
    facts = device.facts
    if facts.kind != "cpu":
        return
    flags = processor_flags()
    lanes = 16 if "avx512f" in flags else 8 if "avx2" in flags else 4
    if peak.share < _BUSY:
        yield (
            f"Other programs use the processor: a kernel got only {peak.share:.0%} of its time. The measured times "
            "are too long."
        )
    if flags and facts.native_float_lanes < lanes and facts.driver in ("pocl", "intel"):
        yield (
            f"The driver computes with vectors of {facts.native_float_lanes} float32 numbers, and the processor has "
            f"vectors of {lanes}. Try a newer driver."
        )
    frequency = processor_frequency()
    if flags and frequency and peak.multiply_adds < _PER_CYCLE * lanes * frequency * facts.compute_units:
        yield (
            f"Multiply-adds are slow: {peak.multiply_adds / 1e9:.0f} billion per second, where vectors of {lanes} "
            f"numbers on {facts.compute_units} units at {frequency / 1e9:.1f} GHz reach "
            f"{lanes * frequency * facts.compute_units / 1e9:.0f} or more. The driver uses short vectors, or the "
            "processor is throttled. Try another driver (clreduce info lists them)."
        )
