"""`Plan`: a program made ready for one device and one dtype. Calling it runs kernels; making it builds them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clreduce.codegen.lower import Lowered, lower
from clreduce.codegen.lower_map import Stored
from clreduce.codegen.render import render
from clreduce.codegen.schedule import Schedule, choose_schedule
from clreduce.domain import Domain
from clreduce.errors import DeviceError, DtypeError, FormulaError
from clreduce.ir.expr import INDEX, topological
from clreduce.program import MapReduce
from clreduce.runtime.blocks import Parts, cut_columns
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.memory import Memory

Array = np.ndarray[Any, Any]
_REAL = {"float32": "float", "float64": "double"}
_LARGEST_INDEX = 2**31 - 2


@dataclass(frozen=True)
class Signature:
    """What a plan needs to know of the data besides its values: the precision, ``"float32"`` or ``"float64"``."""

    dtype: str

    @property
    def real(self) -> str:
        """The OpenCL type."""
        return _REAL[self.dtype]


_SIGNATURES = {name: Signature(name) for name in _REAL}


class Plan:
    """Built kernels of a program. ``plan(arrays, rows, columns)`` gives the results; sizes are free at each call."""

    def __init__(self, program: MapReduce, signature: Signature, device: Device, schedule: Schedule | None = None):
        if signature.dtype == "float64" and not device.facts.has_double:
            raise DeviceError(
                f"{device} has no float64; use float32 data or another device (clreduce.explain_devices() lists them)"
            )
        self.program, self.signature, self.device = program, signature, device
        self.schedule = schedule or choose_schedule(program, signature.real, device.facts)
        try:
            self.lowered: Lowered = lower(program, signature.real, self.schedule, device.facts)
        except RecursionError:
            raise FormulaError(
                "the formula is nested too deeply for a kernel: compute parts of it on their own"
            ) from None
        self._has_indices = any(slot.kind == INDEX for slot in program.state_slots) or any(
            node.kind == INDEX for node in topological(program.values)
        )
        self._local = threading.local()

    @property
    def source(self) -> str:
        """The OpenCL C of the kernels of a call, in the order they run.

        Where j is cut, two others take the place of the last: the same up to its end, and one that merges.
        """
        kernels = [stored.kernel for stored in self.lowered.stored] + [self.lowered.pair]
        return "\n\n".join(render(kernel) for kernel in kernels)

    def __call__(
        self, arrays: Sequence[Array], rows: int, columns: int, results: tuple[Array, ...] | None = None
    ) -> tuple[Array, ...]:
        """The results, one array of shape (rows, D) each, written into ``results`` if given.

        ``arrays``: for each slot of the program a contiguous array of shape (rows, D), (columns, D) or (D,), reals in
        the plan's dtype and indices as int64. The caller has checked shapes.
        """
        real = np.dtype(self.signature.dtype)
        results = results or tuple(
            np.empty((rows, out.dim), np.int64 if out.kind == INDEX else real) for out in self.program.outputs
        )  # fmt: skip
        if rows == 0:
            return results
        self._check_indices(rows, columns)
        memory = Memory(self.device)
        inputs = self._inputs(memory, arrays, rows, columns)
        outputs = [memory.output(result) for result in results]
        schedule = self.schedule
        items = -(-rows // (schedule.lanes * schedule.rows * schedule.group))
        parts = cut_columns(items, columns, schedule, self.device.facts)
        self._run_pairs(memory, inputs, outputs, rows, columns, items, parts)
        memory.read(outputs)
        return results

    def _check_indices(self, rows: int, columns: int) -> None:
        """Kernels keep an index in an integer as wide as the data."""
        if max(rows, columns) > _LARGEST_INDEX and self.signature.dtype == "float32" and self._has_indices:
            raise DeviceError(
                f"indices of {max(rows, columns)} rows need 64 bits, and kernels for float32 keep them in 32: "
                "use float64 data"
            )

    def _inputs(self, memory: Memory, arrays: Sequence[Array], rows: int, columns: int) -> dict[Any, Any]:
        """Buffers by variable: the slots, and what is computed beforehand."""
        buffers: dict[Any, Any] = {}
        for slot, array in zip(self.program.slots, arrays, strict=True):
            count = rows if slot.domain == Domain.I else columns if slot.domain == Domain.J else 1
            assert array.size == count * slot.dim, "the caller has checked shapes"
            buffers[slot] = memory.input(array)
        found = {leaf.params[0]: leaf for leaf in self.lowered.inputs}
        for n, stored in enumerate(self.lowered.stored):
            count = columns if stored.domain == Domain.J else rows
            buffer = memory.scratch(_stored_length(stored, count), self.signature.dtype)
            if count:
                kernel = self._kernel(("stored", n), stored.kernel)
                size = self._padded(-(-count // self.schedule.lanes))
                given = [buffers[leaf] for leaf in stored.inputs]
                kernel(self.device.queue, (size,), (self.schedule.group,), buffer, *given, np.int64(count))
            if ("stored", n) in found:
                buffers[found[("stored", n)]] = buffer
        return buffers

    def _run_pairs(
        self,
        memory: Memory,
        inputs: dict[Any, Any],
        outputs: list[Any],
        rows: int,
        columns: int,
        items: int,
        parts: Parts,
    ) -> None:
        lowered, queue = self.lowered, self.device.queue
        given = [inputs[leaf] for leaf in lowered.inputs]
        group = (self.schedule.group, 1)
        size = (items * self.schedule.group, parts.count)
        if parts.count == 1:
            kernel = self._kernel("pair", lowered.pair)
            kernel(queue, size, group, *outputs, *given, np.int64(rows), np.int64(columns), np.int64(parts.length))
            return
        states = [
            memory.scratch(parts.count * rows * slot.dim, "int64" if slot.kind == INDEX else self.signature.dtype)
            for slot in self.program.state_slots
        ]
        kernel = self._kernel("split", lowered.pair_split)
        kernel(queue, size, group, *states, *given, np.int64(rows), np.int64(columns), np.int64(parts.length))
        kernel = self._kernel("merge", lowered.merge)
        sizes = np.int64(rows), np.int64(columns), np.int64(parts.count)
        kernel(queue, (self._padded(rows),), (self.schedule.group,), *outputs, *states, *sizes)

    def _padded(self, items: int) -> int:
        """A number of work-items that fills its work-groups; those in excess return at once."""
        return -(-items // self.schedule.group) * self.schedule.group

    def _kernel(self, role: Any, kernel: Any) -> Any:
        """The kernel object of this thread: setting arguments of a shared one would be a race."""
        kernels = self._local.__dict__.setdefault("kernels", {})
        if role not in kernels:
            import pyopencl as cl

            kernels[role] = cl.Kernel(PROGRAMS.build(render(kernel), self.device), kernel.name)
        return kernels[role]


def _stored_length(stored: Stored, count: int) -> int:
    block = stored.panel or 1
    return -(-count // block) * block * stored.dim


class PlanCache:
    """Plans by program, signature, device and schedule; the least recently used dropped beyond ``limit``."""

    def __init__(self, limit: int = 1024) -> None:
        self.limit = limit
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self,
        program: MapReduce,
        signature: Signature,
        device: Device,
        schedule: Schedule | None = None,
        direct_sum: bool = False,
    ) -> Plan:
        """The plan, made if need be. ``direct_sum``: without the blocks that the default schedule sums in."""
        if direct_sum:
            schedule = replace(schedule or choose_schedule(program, signature.real, device.facts), flush=False)
        key = (program, signature, device, schedule)
        with self._lock:
            plan = self._plans.get(key)
            if plan is None:
                plan = self._plans[key] = Plan(program, signature, device, schedule)
                if len(self._plans) > self.limit:
                    self._plans.popitem(last=False)
            else:
                self._plans.move_to_end(key)
            return plan

    def __len__(self) -> int:
        return len(self._plans)

    def clear(self) -> None:
        """Forget all plans."""
        with self._lock:
            self._plans.clear()


PLANS = PlanCache()


def signature_of(dtype: Any) -> Signature:
    """The signature of data of ``dtype``; raises `DtypeError` unless it is float32 or float64."""
    signature = _SIGNATURES.get(dtype)
    if signature is None:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = repr(dtype)
        signature = _SIGNATURES.get(name)
        if signature is None:
            raise DtypeError(f"arrays are float32 or float64; got {name}")
    return signature


__all__ = ["PLANS", "Plan", "PlanCache", "Signature", "signature_of"]
