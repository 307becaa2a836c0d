"""How fast a device is, and whether that is what its arithmetic allows.

Each workload's operations per pair are counted in its formula (`clreduce.codegen.cost`). Divided into the operations
per second that the device was measured to do at most, they give the pairs per second that could be. Healthy devices
reach 0.6 to 1.2 times that: an exponential takes fewer operations than are counted for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from clreduce.codegen.cost import written_out
from clreduce.health.machine import processor_flags, processor_frequency
from clreduce.health.roofline import bytes_moved, multiply_adds
from clreduce.health.timing import timed
from clreduce.numpy import Genred
from clreduce.runtime.device import Device
from clreduce.runtime.devices import use_device

HEALTHY = 0.4
"""The part of the pairs per second that could be, from which on a workload is as fast as expected."""
_BUSY = 0.75
"""The part of the processor's time from which on kernels count as undisturbed."""
_PER_CYCLE = 0.5
"""Multiply-adds of full vectors per cycle, below which the processor does less than it could."""
_SIZES = {"cpu": 6000, "gpu": 40000}
_ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"]


@dataclass(frozen=True)
class Peak:
    """The highest rates of a device for numbers of one dtype."""

    dtype: str
    multiply_adds: float
    """Per second."""
    share: float
    """The part of the processor's time that the kernels got (1 on a GPU)."""


@dataclass(frozen=True)
class Speed:
    """The speed of a workload."""

    workload: str
    dtype: str
    rows: int
    columns: int
    milliseconds: float
    """The median of a call."""
    pairs: float
    """Pairs per second."""
    operations: int
    """Counted for each pair."""
    roofline: float
    """The part of the pairs per second that could be."""
    share: float
    """The part of the processor's time that the calls got."""
    verdict: str
    """``"as expected"``, or ``"slow: ..."`` with the likely cause and what to try."""


def measure(device: Device, seconds: float) -> dict[str, Any]:
    """The speed of a device, in about so many seconds, as a dictionary of plain values (docs/command.md)."""
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
        "peaks": [asdict(peak) for peak in peaks.values()],
        "bytes_per_second": bandwidth,
        "small_call_microseconds": 1e6 * latency,
        "workloads": [asdict(speed) for speed in speeds],
        "remarks": list(_remarks(device, peaks["float32"])),
    }


def _small_call(device: Device, seconds: float) -> float:
    routine = Genred("Exp(-SqDist(x, y)) * b", _ALIASES, axis=1)
    arrays = _data("float32", 100)
    routine(*arrays)
    return timed(partial(routine, *arrays), device, 20, seconds).median


def _data(dtype: str, size: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(size, length)).astype(dtype) for length in (3, 3, 1))


def _workloads(device: Device, peak: Peak, seconds: float) -> Iterator[Speed]:
    gaussian = Genred("Exp(-SqDist(x, y)) * b", _ALIASES, axis=1)
    nearest = Genred("SqDist(x, y)", _ALIASES[:2], "ArgKMin", axis=1, opt_arg=10)
    gradients = gaussian.program.vjp([0, 1, 2])
    for name, operations, call in (
        ("Gaussian sum", _operations(gaussian), lambda x, y, b: gaussian(x, y, b)),
        (
            "its gradients",
            sum(_operations(gradient) for gradient in gradients),
            lambda x, y, b: gaussian.vjp(x, y, b, cotangent=b),
        ),
        ("10 nearest neighbours", _operations(nearest), lambda x, y, b: nearest(x, y)),
    ):
        yield _speed(device, peak, seconds, name, operations, call)


def _operations(routine: Any) -> int:
    """Operations for each pair: the term, and its addition."""
    program = routine.program
    return written_out(program.values, sys.maxsize) + sum(int(value.dim) for value in program.values)


def _speed(
    device: Device, peak: Peak, seconds: float, name: str, operations: int, call: Callable[..., object]
) -> Speed:
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
    return Speed(name, peak.dtype, size, size, 1e3 * timing.median, pairs, operations, roofline, timing.share, verdict)


def _cause(device: Device, share: float) -> str:
    """Why a workload is slower than the device's arithmetic allows, as far as that can be told, and what to try."""
    facts = device.facts
    if facts.kind == "cpu" and share < _BUSY:
        return (
            "other programs use the processor; try again when they are done (if they are PyTorch's threads, set "
            "OMP_WAIT_POLICY=PASSIVE)"
        )
    if facts.driver == "pocl" and facts.kind == "cpu" and (facts.llvm_version or 0) < 15:
        return "this PoCL has an old compiler; try a newer PoCL, or Intel's driver"
    if facts.driver == "oclgrind":
        return "this is a simulator; use another device"
    if facts.driver == "other":
        return "this driver's compiler makes slow code; try clreduce.tune on your formula, or PoCL or Intel's driver"
    return "the default schedule does not suit this device; try clreduce.tune on your formula, and report it"


def _remarks(device: Device, peak: Peak) -> Iterator[str]:
    """Faults of the measured peak itself, in words."""
    facts = device.facts
    if facts.kind != "cpu":
        return
    flags = processor_flags()
    lanes = 16 if "avx512f" in flags else 8 if "avx2" in flags else 4
    if peak.share < _BUSY:
        yield (
            f"Other programs use the processor: a kernel that needs nothing else got {peak.share:.0%} of it. "
            "Times are longer than they would be."
        )
    if flags and facts.native_float_lanes < lanes and facts.driver in ("pocl", "intel"):
        yield (
            f"The driver computes with vectors of {facts.native_float_lanes} float32 numbers, and the processor has "
            f"{lanes}. Try a newer driver."
        )
    frequency = processor_frequency()
    if flags and frequency and peak.multiply_adds < _PER_CYCLE * lanes * frequency * facts.compute_units:
        yield (
            f"Multiply-adds are slow: {peak.multiply_adds / 1e9:.0f} billion per second, where vectors of {lanes} "
            f"numbers on {facts.compute_units} units at {frequency / 1e9:.1f} GHz would do "
            f"{lanes * frequency * facts.compute_units / 1e9:.0f} or more. The driver uses short vectors, or the "
            "processor is throttled; try another driver (clreduce info lists them)."
        )
