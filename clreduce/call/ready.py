"""`Ready`: a work that is prepared for a device: its plan, the parts of j, and the blocks that fit into memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from clreduce.errors import OutOfMemoryError
from clreduce.runtime.blocks import Parts
from clreduce.runtime.budget import Budget, budget_of
from clreduce.runtime.cuts import Bytes, LeafRegion, Tree, cut, grain_of
from clreduce.runtime.plan import Plan
from clreduce.runtime.region import Region


@dataclass(frozen=True)
class Ready:
    """The plan of a work on a device, and the cuts of its region."""

    forgotten: int
    """The value of ``PLANS.forgotten`` when this was made."""
    limit: int | None
    """The memory limit in bytes; None for no limit."""
    plan: Plan
    tree: Tree | None
    """The tree of blocks; None if the whole region fits at once."""
    parts: Parts
    """The parts into which a kernel cuts j."""
    in_place: bool
    """Whether kernels use the caller's arrays in place, without buffers of their own."""
    sources: bool
    """Whether some arrays are read block by block. Two blocks are then in memory at a time."""
    deterministic: bool = False
    """Whether the order of additions depends on the formula and the arrays only."""

    @property
    def budget(self) -> Budget:
        """The bytes that one leaf may take."""
        return budget_of(self.plan.device, self.limit)

    @property
    def fixed_parts(self) -> Parts | None:
        """The parts of j for a call that is not cut; None lets the plan choose them for the device."""
        return self.parts if self.deterministic else None

    def cut(self, region: Region, budget: Budget, in_place: bool = False) -> Tree:
        """The tree of blocks of a region. With ``in_place``, arrays on the host need no memory.

        Raises `OutOfMemoryError` if not even the smallest block fits.
        """
        plan, parts = self.plan, self.parts

        def cost(part: Region) -> Bytes:
            needed = plan.bytes(part, parts, in_place)
            return replace(needed, inputs=2 * needed.inputs) if self.sources else needed

        grain = grain_of(parts, region.columns, plan.schedule.group_rows, plan.schedule.tile)
        if self.deterministic:
            grain = replace(grain, columns=max(1, parts.length if region.ranges is None else region.columns))
        tree = cut(region, cost, budget, grain)
        if tree is None:
            rows, columns = min(grain.rows, region.rows), min(grain.columns, region.columns)
            least = cost(region.part(rows=(0, rows), columns=(0, columns), indices=tuple((0, 1) for _ in region.batch)))
            raise OutOfMemoryError(
                f"the smallest block of this call, {rows} rows by {columns} columns, takes {least.total:,} bytes ("
                f"{least.largest:,} in one buffer); {budget.total:,} ({budget.buffer:,} in one buffer) are allowed on "
                f"{plan.device}: raise max_memory, use shorter vectors, or choose another device"
            )
        return tree

    def smaller(self, leaf: LeafRegion, budget: Budget, error: OutOfMemoryError) -> tuple[Tree, Budget]:
        """A finer tree for a leaf that did not fit, and its budget. Raises ``error`` if the leaf cannot be cut."""
        taken = self.plan.bytes(leaf.region, self.parts)
        budget = Budget(min(budget.total, taken.total), min(budget.buffer, taken.largest)).halved()
        try:
            tree = self.cut(leaf.region, budget)
        except OutOfMemoryError:
            raise error from None
        if isinstance(tree, LeafRegion):
            raise error
        return tree, budget
