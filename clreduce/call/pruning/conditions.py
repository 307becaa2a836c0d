"""Conditions: pairs of blocks in which a condition holds everywhere, or nowhere, are counted without a visit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clreduce.call.pruning.blocks import BlockPairs
from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr
from clreduce.ir.op import OPS, constant, variable
from clreduce.ops.shape import concat
from clreduce.typing import Array

_BASE = 16
"""The base of the digits in which kernels add up numbers of columns."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """The steps of one Count, Any or All, in their order."""

    pairs: BlockPairs

    @cached_property
    def known(self) -> tuple[Expr, Expr]:
        """Two formulas over pairs of blocks: whether bounds settle the condition for all terms of a pair, in each
        component; and, where they do, whether it holds: 1 or 0."""
        (value,) = self.pairs.values
        if value.kind != REAL:
            value = OPS["where"](value, constant(1), constant(0))
        (bounds,) = self.pairs.bounds(value)
        zero, less = constant(0), OPS["less"]
        apart = OPS["logical_or"](less(zero, bounds.low), less(bounds.high, zero))  # nan holds, too
        is_zero = OPS["logical_and"](OPS["equal"](bounds.low, zero), OPS["equal"](bounds.high, zero))
        if bounds.nan is not None:
            is_zero = OPS["logical_and"](is_zero, OPS["less_equal"](bounds.nan, zero))
        unknown = OPS["where"](OPS["logical_or"](apart, is_zero), zero, constant(1))
        unknown = unknown if unknown.dim == 1 else OPS["largest"](unknown)
        return less(unknown, constant(1)), OPS["where"](apart, constant(1), zero)

    def run(self) -> tuple[Array, ...]:
        """The results, with rows in the caller's order."""
        known, holds = self.known
        # A float holds the numbers of columns, digit by digit.
        sizes = np.diff(self.pairs.columns.partition.intervals, axis=1)
        digits = {variable(("digit", base), 1, Domain.J): sizes // base % _BASE for base in (1, _BASE, _BASE**2)}

        def columns(part: Expr) -> Array:
            """The number of columns in blocks for which a mask is 1: (blocks of rows, components)."""
            counts = self.pairs.over_blocks(concat(*(part * digit for digit in digits)), "Sum", None, digits)
            ones, tens, hundreds = np.split(counts.astype(np.int64), len(digits), axis=1)
            number: Array = ones + _BASE * (tens + _BASE * hundreds)
            return number

        holding = columns(OPS["where"](known, holds, constant(0)))
        missing: Array = columns(OPS["where"](known, constant(1), constant(0))) - holding
        name = self.pairs.program.reduction.name
        known_results = {"Count": holding < 0, "Any": holding > 0, "All": missing > 0}
        settled: Array = np.logical_and.reduce(known_results[name], axis=1)
        is_open = variable("is open", 1, Domain.I)
        mask = OPS["logical_and"](OPS["logical_not"](known), OPS["less"](constant(0), is_open))
        (visited,) = self.pairs.visit(self.pairs.pairs_where(mask, {is_open: ~settled[:, None]}), name)
        owner = self.pairs.owner
        if name == "Count":
            result = visited + holding[owner]
        elif name == "Any":
            result = np.maximum(visited, holding[owner] > 0)
        else:
            result = np.minimum(visited, missing[owner] == 0)
        return (self.pairs.in_order(result.astype(visited.dtype)),)
