"""An estimate of the device memory and the time of one call, before it runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clreduce.adapters.adapter import Adapter, Between, HostAdapter, Own
from clreduce.call.arguments import Arguments
from clreduce.call.base import RoutineBase
from clreduce.call.executor import Executor
from clreduce.ir.expr import INDEX
from clreduce.memo import Memo
from clreduce.runtime.cuts import leaves
from clreduce.runtime.launch import Call
from clreduce.typing import Array


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the device during a call. A device that shares memory with the host uses the host's arrays in place.

    >>> MemoryEstimate(inputs=2**20, outputs=2**10, temporaries=0)
    MemoryEstimate(1.0 MiB: inputs 1.0 MiB, outputs 1.0 KiB, temporaries 0 B)
    """

    inputs: int
    outputs: int
    temporaries: int
    """Values that are computed once per i or per j in advance, and the states of parts of j before they are merged."""
    host: int = 0
    """Bytes of the arrays and results of the whole call, on the host."""
    blocks: int = 1
    """The number of blocks of a call that exceeds `clreduce.set_max_memory` or the memory of its device; else 1. With
    several blocks, ``inputs``, ``outputs`` and ``temporaries`` are those of the largest."""
    seconds: float = 0.0
    """The expected time: from the speed of earlier long calls of this kind, or else from the number of operations."""

    @property
    def total(self) -> int:
        """Inputs, outputs and temporaries together."""
        return self.inputs + self.outputs + self.temporaries

    def __repr__(self) -> str:
        parts = (("inputs", self.inputs), ("outputs", self.outputs), ("temporaries", self.temporaries))
        sizes = ", ".join(f"{name} {memory_text(size)}" for name, size in parts)
        blocks = f", the largest of {self.blocks} blocks" if self.blocks > 1 else ""
        return f"MemoryEstimate({memory_text(self.total)}: {sizes}{blocks})"


class ShapesOnly(HostAdapter[Own]):
    """An adapter that checks arrays as ``library`` does, but reads only shapes and dtypes and copies nothing."""

    def __init__(self, library: Adapter[Own, Between]) -> None:
        self.name = library.name
        self.accepts, self.shape, self.dtype_name = library.accepts, library.shape, library.dtype_name  # type: ignore[method-assign]
        self.place, self.promoted, self.is_weak = library.place, library.promoted, library.is_weak  # type: ignore[method-assign]

    def arranged(self, value: Own, dtype: str, shape: tuple[int, ...]) -> Array:
        """Zeros of the shape that kernels would read. Only one number is stored."""
        return np.broadcast_to(np.zeros((), dtype), shape)


def estimate(routine: RoutineBase, arguments: Arguments, executor: Executor) -> MemoryEstimate:
    """The memory and time of a call of ``routine`` with these arguments. No kernel is built or run."""
    work = routine._evaluation_of(arguments, executor).work
    arrays = routine._in_slots(arguments.arrays)
    ready = executor.prepare((work, Memo(), arrays))
    plan, region = ready.plan, work.region
    kept = np.dtype(plan.signature.state_dtype).itemsize
    numbers = sum(output.dim * (8 if output.kind == INDEX else kept) for output in plan.program.outputs)
    inputs, outputs = sum(array.nbytes for array in arrays), numbers * region.rows * region.count
    seconds = region.area / plan.pace.speed
    if ready.tree is None:
        temporaries = Call(plan, region).temporaries if region.rows else 0
        return MemoryEstimate(inputs, outputs, temporaries, inputs + outputs, 1, seconds)
    blocks = [plan.bytes(leaf.region, ready.parts) for leaf in leaves(ready.tree)]
    largest = max(blocks, key=lambda block: block.total)
    return MemoryEstimate(
        largest.inputs, largest.outputs, largest.temporaries, inputs + outputs, len(blocks), seconds
    )  # fmt: skip


def memory_text(size: int | float) -> str:
    """A number of bytes as text with a binary unit.

    >>> memory_text(1536), memory_text(80 * 2**30)
    ('1.5 KiB', '80.0 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.1f} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1024
    return f"{size:.1f} TiB"
