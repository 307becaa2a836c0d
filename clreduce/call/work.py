"""`Work`: a program, its options and a region: the unit that executors run and that derivatives differentiate.

It contains no array and no device, so it can be sent to another process.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from clreduce.call.options import Options
from clreduce.call.pruning.request import DEFAULT, Pruning
from clreduce.call.pruning.selected_terms import Selected, selected_of
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX
from clreduce.ir.op import variable
from clreduce.memo import Memo, memoised
from clreduce.program import Arrangement, MapReduce, arranged, map_reduce, with_compensated_sums, with_fast_distances
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, signature_of
from clreduce.runtime.plan_cache import PLANS
from clreduce.runtime.ranges import Ranges
from clreduce.runtime.region import Region
from clreduce.typing import Array

Prepared: TypeAlias = Memo[Hashable, Any]
"""The cache of one work and one executor, kept between runs: its plan, its parts on other devices, its derivatives."""

_PAIRS_PER_SELECTED = 2**12
"""Only the selected pairs are visited if a call has at least this many pairs per selected one: a single pair costs as
much as many contiguous ones."""
_MANY_POINTS = 2**18
"""By default, a call tries to skip blocks of pairs if it has at least this many rows and columns."""


@dataclass(frozen=True)
class Work:
    """A program on a region, in a precision, under options: a call without its arrays and its executor."""

    program: MapReduce
    options: Options
    region: Region
    dtype: str
    """The precision of the kernels."""
    pruning: Pruning | None = None
    """The pruning of the call. None skips pairs only if this probably saves time and leaves all results unchanged."""
    completes: bool = True
    """Whether lists of the K best terms name infinite terms, too, where there are too few others."""
    careful: bool = False
    """Whether products are arranged for parameters of any size, even if those of a run are moderate (`Arrangement`)."""

    @cached_property
    def is_residual(self) -> bool:
        """Whether derivatives read the work's own results as residuals."""
        return self.program.residual == self.program

    @cached_property
    def with_residuals(self) -> Work:
        """The work whose results are the residuals that derivatives read; its first result is this work's result.

        It is this work itself if derivatives read no residuals, or only its own results, and these have no tolerance.
        """
        residual, pruning = self.program.residual, self.pruning
        if residual is None:
            return self
        if pruning is not None and pruning.has_tolerance:
            return replace(self, program=residual, pruning=replace(pruning, of_residuals=True))
        return self if self.is_residual else replace(self, program=residual)

    @property
    def within_rounding(self) -> Work:
        """This work with a tolerance as small as rounding errors, if it has a tolerance."""
        return self if self.pruning is None else replace(self, pruning=self.pruning.within_rounding(self.dtype))

    @cached_property
    def skips(self) -> bool:
        """Whether a run tries to skip blocks of pairs."""
        pruning, region, reduction = self.pruning or DEFAULT, self.region, self.program.reduction
        if pruning.prune is False or not reduction.skips:
            return False
        if self.selected is not None:
            return True
        if reduction.skips.selects and self.program.values[0].dim != 1:
            return False
        if not {Domain.I, Domain.J} <= {slot.domain for slot in self.program.slots}:
            return False
        if pruning.prune:
            return True
        return not reduction.skips.approximate and min(region.rows, region.columns) >= _MANY_POINTS

    @cached_property
    def selected(self) -> Selected | None:
        """The selected pairs if only these are visited, as in derivatives of selections; else None."""
        selected, region = selected_of(self.program), self.region
        if selected is None:
            return None
        return selected if region.area >= max(_PAIRS_PER_SELECTED * selected.pairs(region), 1) else None

    @cached_property
    def lists(self) -> tuple[int, ...]:
        """The numbers of the results that are indices of the K best terms."""
        if not self.completes or not self.program.reduction.lists:
            return ()
        return tuple(n for n, output in enumerate(self.program.outputs) if output.kind == INDEX)

    @cached_property
    def arrangement(self) -> Arrangement | None:
        """The arrangement of products, if it depends on the size of parameters; else None."""
        if self.careful:
            return None
        arrangement = arrangement_of(self.program, self.options)
        return arrangement if arrangement.slots else None

    def arranged_for(self, arrays: Sequence[Array]) -> Work:
        """This work with products arranged as for these arrays, also if it runs on parts or on copies of them."""
        fixed = self.arrangement is not None and not self.arrangement.holds(arrays)
        return replace(self, careful=True) if fixed else self

    def of(self, program: MapReduce, flipped: bool = False, once: bool = False) -> Work:
        """The work of ``program`` over the same pairs. If ``flipped``, its rows are the columns of this one."""
        region = self.region
        if flipped:
            region = region.flipped(once)
        elif once and not region.once:
            region = replace(region, once=True)
        pruning = self.pruning and self.pruning.of_derivative()
        return Work(program, self.options, region, self.dtype, pruning)

    def row_sum(self, dim: int) -> Work:
        """The work that adds up the rows of a result (.., rows, dim) of this one."""
        region = self.region
        rows = Region(1, region.rows, region.batch, 0, region.first_row, region.first_index)
        return Work(_row_sum(dim), self.options, rows, self.dtype)

    def on(self, region: Region) -> Work:
        """This work on another region."""
        return replace(self, region=region)

    def components(self, start: int, stop: int) -> tuple[Work, Prepared, tuple[int, ...]]:
        """This work for some components of the formula, a memo for it, and the slots whose arrays it reads."""
        program, slots = self.program.components(start, stop)
        return Work(program, self.options, self.region, self.dtype), Memo(), slots

    def wider(self, sizes: tuple[int, ...]) -> Work:
        """This work for a larger batch: ``sizes`` are dimensions before its own."""
        return self.on(replace(self.region, batch=(*sizes, *self.region.batch), first_index=()))

    def plan(self, device: Device, moderate: bool = False, measured: bool = True) -> Plan:
        """The plan of this work on a device; see `plan_of`."""
        region = self.region
        batched, pairs = bool(region.batch), region.pairs
        return plan_of(
            self.program, self.options, self.dtype, device, batched, region.rows, region.columns, pairs, moderate,
            measured,
        )  # fmt: skip


def plan_of(
    program: MapReduce,
    options: Options,
    dtype: str,
    device: Device,
    batched: bool = False,
    rows: int | None = None,
    columns: int = 0,
    ranges: Ranges | None = None,
    moderate: bool = False,
    measured: bool = True,
) -> Plan:
    """The plan of a program under options.

    ``rows`` is the number of rows of the result; None means many. ``columns`` is a lower bound of the number of
    columns. With ``ranges`` the plan serves block-sparse calls of that shape. ``moderate`` plans assume parameters of
    moderate size (`Arrangement`). Without ``measured``, the plan has the default schedule for many rows, and ignores
    tuning.
    """
    direct_sum = options.sum_scheme == "direct_sum"
    wide = options.dtype_acc == "float64" and program.reduction.blocked
    full = options.accuracy == "full" and device.facts.in_full_accuracy != device.facts
    signature = signature_of(dtype, batched, wide, ranges, full)
    if ranges is not None and program.reduction.keeps_terms:
        signature = replace(signature, visits=ranges.visits)
    return PLANS.get(computed(program, options, moderate), signature, device, None, direct_sum, rows, columns, measured)


def computed(program: MapReduce, options: Options, moderate: bool = True) -> MapReduce:
    """The program that runs in place of ``program``: with arranged products, and rewritten as the options ask.

    If ``moderate``, products are arranged for parameters of moderate size (`Arrangement`).
    """
    arrangement = arrangement_of(program, options)
    program = arrangement.moderate if moderate else arrangement.careful
    return with_compensated_sums(program) if options.sum_scheme == "kahan_scheme" else program


def arrangement_of(program: MapReduce, options: Options) -> Arrangement:
    """The arrangement of the products of a program under options."""
    return arranged(program if options.fast is None else with_fast_distances(program))


@memoised(64)
def _row_sum(dim: int) -> MapReduce:
    return map_reduce([variable(0, dim, Domain.J)], "Sum")[0]
