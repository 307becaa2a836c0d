"""The memory that one call of a routine takes on its device, told before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clreduce.adapters.adapter import Adapter
from clreduce.call.arguments import Arguments
from clreduce.call.base import RoutineBase
from clreduce.call.executor import Executor
from clreduce.ir.expr import INDEX
from clreduce.memo import Memo
from clreduce.runtime.cuts import leaves
from clreduce.runtime.launch import Call


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the device during a call. A device that shares the host's memory reads inputs and writes results there.

    >>> MemoryEstimate(inputs=2**20, outputs=2**10, temporaries=0)
    MemoryEstimate(1.0 MiB: inputs 1.0 MiB, outputs 1.0 KiB, temporaries 0 B)
    """

    inputs: int
    outputs: int
    temporaries: int
    """Values of j or of i that are computed beforehand, and the states of parts of j that are merged at the end."""
    host: int = 0
    """Bytes of the arrays and results of the whole call, on the host."""
    blocks: int = 1
    """Blocks that the call is cut into, for it takes more than `clreduce.set_max_memory` or its device allows; the
    bytes above are then those of the largest."""
    seconds: float = 0.0
    """How long the call may take: by the speed of earlier long calls of this kind, or a guess from its operations."""

    @property
    def total(self) -> int:
        """All of them together."""
        return self.inputs + self.outputs + self.temporaries

    def __repr__(self) -> str:
        parts = (("inputs", self.inputs), ("outputs", self.outputs), ("temporaries", self.temporaries))
        told = ", ".join(f"{name} {memory_text(size)}" for name, size in parts)
        blocks = f", the largest of {self.blocks} blocks" if self.blocks > 1 else ""
        return f"MemoryEstimate({memory_text(self.total)}: {told}{blocks})"


class ShapesOnly(Adapter):
    """Another adapter whose arrays are told by shape and dtype only, so that none is copied."""

    def __init__(self, library: Adapter) -> None:
        self.name = library.name
        self.accepts, self.shape, self.dtype_name = library.accepts, library.shape, library.dtype_name  # type: ignore[method-assign]
        self.place, self.promoted, self.is_weak = library.place, library.promoted, library.is_weak  # type: ignore[method-assign]

    def arranged(self, value: Any, dtype: str, shape: tuple[int, ...]) -> Any:
        """Zeros in the shape that kernels would read, of which one is in memory."""
        return np.broadcast_to(np.zeros((), dtype), shape)


def estimate(routine: RoutineBase, arguments: Arguments, executor: Executor) -> MemoryEstimate:
    """What a call of ``routine`` with these arguments takes. Kernels are laid out, but neither built nor run."""
    work = routine.evaluation(arguments, executor).work
    arrays = routine.feeds(arguments.arrays)
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
    """Bytes for a person.

    >>> memory_text(1536), memory_text(80 * 2**30)
    ('1.5 KiB', '80.0 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.1f} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1024
    return f"{size:.1f} TiB"
