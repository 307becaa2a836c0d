"""Memory and interruption of long calls: peak of a call from files, cut lists, calls in a row, Ctrl-C, two devices.

    python benchmarks/streaming.py [--quick]

Each line says what was measured and what it should stay below. Run it alone: other programs change the times.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import clreduce
from clreduce.numpy import Genred

Array = np.ndarray[Any, Any]
ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"]
GAUSSIAN = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
MEGA = 10**6


def resident() -> float:
    """The memory of this process now, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGA


def peak_while(run: Any) -> tuple[Any, float]:
    """What ``run`` gives, and by how many MB the memory of the process rose meanwhile."""
    gc.collect()
    before, highest, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            highest[0] = max(highest[0], resident())

    thread = threading.Thread(target=watch)
    thread.start()
    result = run()
    done.set()
    thread.join()
    return result, max(highest[0], resident()) - before


def from_files(rows: int, columns: int) -> None:
    """A Gaussian sum of files, under a limit of 64 MB, equals that of arrays in memory."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, shape in (("x", (rows, 3)), ("y", (columns, 3)), ("b", (columns, 1))):
            file = np.memmap(f"{folder}/{name}", "float32", "w+", shape=shape)
            file[...] = rng.normal(size=shape)
            del file
            files.append(np.memmap(f"{folder}/{name}", "float32", "r", shape=shape))
        GAUSSIAN(*(file[:1000] for file in files))  # what the library itself takes
        result, peak = peak_while(lambda: GAUSSIAN(*files, max_memory="64MB"))
        equal = np.allclose(result, GAUSSIAN(*map(np.array, files)), rtol=1e-5, atol=1e-5)
        limit = 64 + result.nbytes / MEGA
        print(f"from files, {rows} x {columns}, 64 MB: equal: {equal}; peak {peak:.0f} MB (at most {limit:.0f})")


def nearest(rows: int, columns: int) -> None:
    """Lists of the nearest, cut by memory into blocks of columns, equal those of the uncut call."""
    rng = np.random.default_rng(1)
    x, y = (rng.random(size=(size, 3), dtype=np.float32) for size in (rows, columns))
    routine = Genred("SqDist(x, y)", ALIASES[:2], "KMin_ArgKMin", axis=1, opt_arg=10)
    start = time.perf_counter()
    whole = routine(x, y)
    middle = time.perf_counter()
    cut = routine(x, y, max_memory="4MB")
    end = time.perf_counter()
    blocks = routine.memory_estimate(x, y, max_memory="4MB").blocks
    equal = all(np.array_equal(ours, theirs) for ours, theirs in zip(cut, whole, strict=True))
    print(
        f"10 nearest of {rows} x {columns}: {blocks} blocks equal the whole, bit by bit: {equal}; "
        f"{end - middle:.1f} s against {middle - start:.1f} s"
    )


def in_a_row(calls: int) -> None:
    """Streamed calls leave nothing behind."""
    rng = np.random.default_rng(0)
    x, y, b = (rng.normal(size=shape).astype("float32") for shape in ((2000, 3), (2000, 3), (2000, 1)))
    sizes = []
    for call in range(calls):
        GAUSSIAN(x, y, b, max_memory="60KB")
        if call in (calls // 10, calls - 1):
            gc.collect()
            sizes.append(resident())
    print(f"{calls} calls in blocks: memory grows by {sizes[1] - sizes[0]:.1f} MB after the first tenth (at most 1)")


def interrupted(size: int) -> None:
    """Ctrl-C in the midst of a long call, after which the next call is right."""
    rng = np.random.default_rng(0)
    x, y, b = (rng.normal(size=shape).astype("float32") for shape in ((size, 3), (size, 3), (size, 1)))
    GAUSSIAN(x[:1000], y[:1000], b[:1000])
    sent: list[float] = []

    def send() -> None:
        time.sleep(3.0)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send).start()
    try:
        GAUSSIAN(x, y, b)
        print("the call ended before Ctrl-C")
        return
    except KeyboardInterrupt:
        waited = time.perf_counter() - sent[0]
    small = GAUSSIAN(x[:50], y[:60], b[:60])
    dense = np.exp(-((x[:50, None].astype(float) - y[None, :60]) ** 2).sum(-1)) @ b[:60]
    right = np.allclose(small, dense, rtol=1e-4)
    print(f"Ctrl-C in {size} x {size}: {waited:.2f} s (at most 1); the next call is right: {right}")


def two_devices(size: int) -> None:
    """Two devices of a core each share a call: which part of the sum of their speeds do they reach?"""
    import pyopencl as cl

    from clreduce.runtime.device import Device

    whole = clreduce.current_device()
    try:
        halves = whole.cl_device.create_sub_devices([cl.device_partition_property.EQUALLY, 1])[:2]
    except cl.Error as error:
        print(f"two devices: this driver makes no sub-devices ({error})")
        return
    devices = [Device(half) for half in halves]
    rng = np.random.default_rng(0)
    x, y, b = (rng.normal(size=shape).astype("float32") for shape in ((size, 3), (size, 3), (size, 1)))
    times: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for _ in range(6):
        for number, chosen in enumerate((devices[:1], devices[1:], devices)):
            with clreduce.use_devices(chosen):
                start = time.perf_counter()
                GAUSSIAN(x, y, b)
                times[number].append(time.perf_counter() - start)
    first, second, both = (min(times[number][1:]) for number in range(3))
    part = 1 / both / (1 / first + 1 / second)
    alone = f"{first:.2f} s and {second:.2f} s alone"
    print(
        f"two devices, {size} x {size}: {alone}, {both:.2f} s together: {part:.2f} of the sum of speeds (at least 0.9)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    quick = parser.parse_args().quick
    print(f"device: {clreduce.current_device()!r}; the library itself takes {resident():.0f} MB")
    from_files(200_000 if quick else 2 * MEGA, 10_000)
    nearest(2000 if quick else 10_000, MEGA)
    in_a_row(200 if quick else 1000)
    interrupted(300_000 if quick else MEGA)
    two_devices(10_000 if quick else 40_000)
