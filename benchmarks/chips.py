"""What the processors of GPUs can do at once, from their vendors' manuals: units, registers, local memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """A processor (streaming multiprocessor, compute unit) of a GPU, which consists of several equal schedulers."""

    in_step: int
    """Work-items that one instruction is for."""
    schedulers: int
    most_waves: int
    """Groups of work-items in step that a scheduler can hold."""
    registers: int
    """Per scheduler, and work-item in step."""
    granule: int
    """Registers are given to a work-item in multiples of this."""
    local: int
    """Bytes of local memory."""
    most_groups: int
    """Work-groups that the processor can hold."""
    cycles: Mapping[str, float]
    """How long an instruction of each class keeps its unit of a scheduler busy; "issue": any instruction. Others: 1."""

    def occupancy(self, registers: int, local: int, group: int) -> float:
        """Part of the work-items that the processor can hold, of a kernel that takes so many registers and bytes."""
        waves_of_group = -(-group // self.in_step)
        of_registers = self.registers // (-(-max(registers, 1) // self.granule) * self.granule)
        waves = self.schedulers * min(self.most_waves, of_registers)
        groups = min(waves // waves_of_group, self.most_groups, self.local // local if local else self.most_groups)
        return groups * waves_of_group / (self.schedulers * self.most_waves)

    def busy(self, classes: Mapping[str, float]) -> dict[str, float]:
        """By unit, the cycles that so many instructions of each class take. Units work side by side."""
        # AMD's processors issue arithmetic, loads and branches of several work-items side by side.
        cycles = {} if self.is_amd else {"issue": self.cycles["issue"] * sum(classes.values())}
        for kind, n in classes.items():
            unit = self.unit_of(kind)
            cycles[unit] = cycles.get(unit, 0.0) + self.cycles.get(kind, 1.0) * n
        return cycles

    @property
    def is_amd(self) -> bool:
        return "packed" in self.cycles

    def unit_of(self, kind: str) -> str:
        """AMD's processors have one unit for arithmetic of every kind."""
        return "arithmetic" if self.is_amd and kind in ("FP32", "packed", "FP64", "integer", "special") else kind


def _nvidia(waves: int, local: int, fp32: float, fp64: float) -> Chip:
    """Of 65,536 registers; a quarter of 16 special functions, 32 words of local memory and 64 integers at a time."""
    cycles = {"issue": 1.0, "FP32": fp32, "FP64": fp64, "special": 8.0, "local": 4.0, "integer": 2.0}
    return Chip(32, 4, waves, 512, 8, local, 32, cycles)


def _amd(in_step: int, waves: int, registers: int, granule: int, cycle: float, fp64: float) -> Chip:
    """``cycle``: how long one instruction takes for the work-items in step."""
    cycles = dict.fromkeys(("FP32", "packed", "integer"), cycle)
    cycles |= {"FP64": fp64, "special": 4 * cycle, "local": 2 * cycle}
    schedulers = 4 if in_step == 64 else 2
    return Chip(in_step, schedulers, waves, registers, granule, 64 << 10, 32, cycles)


CHIPS = {
    "sm_70": _nvidia(16, 96 << 10, fp32=2.0, fp64=4.0),
    "sm_80": _nvidia(16, 164 << 10, fp32=2.0, fp64=4.0),
    "sm_90": _nvidia(16, 228 << 10, fp32=1.0, fp64=2.0),
    # 16 lanes take four cycles for 64 work-items, also in float64 and for two packed numbers.
    "gfx90a": _amd(64, 8, 512, 8, cycle=4.0, fp64=4.0),
    "gfx1030": _amd(32, 16, 1024, 8, cycle=1.0, fp64=16.0),
    "gfx1100": _amd(32, 16, 1536, 24, cycle=1.0, fp64=32.0),
}
