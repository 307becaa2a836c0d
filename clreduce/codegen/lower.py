"""`lower` turns a `MapReduce` and a `Schedule` into kernels: for stored values, for pairs, and for merging parts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.hoist import hoist
from clreduce.codegen.kernel import Kernel
from clreduce.codegen.limits import check_length
from clreduce.codegen.lower_map import Stored, lower_map
from clreduce.codegen.lower_merge import lower_join, lower_merge
from clreduce.codegen.lower_nearest import NearestLowering
from clreduce.codegen.lower_pairs import PairLowering
from clreduce.codegen.panels import ROWS_OF_PANEL
from clreduce.codegen.schedule import Schedule, check_state
from clreduce.codegen.thresholds import threshold_of
from clreduce.errors import FormulaError
from clreduce.ir.expr import Expr
from clreduce.ir.rewrite import simplify
from clreduce.ir.signs import with_known_signs
from clreduce.program import MapReduce


@dataclass(frozen=True)
class Lowered:
    """All kernels of one program under one schedule. Kernels that few calls need are made on demand."""

    stored: tuple[Stored, ...]
    stored_as: tuple[Expr, ...]
    """The variable of each stored value."""
    pair: Kernel
    inputs: tuple[Expr, ...]
    """The variables that the pair kernels read: slots of the program, or ``("stored", n)``."""
    _make: Callable[[str], Kernel] = field(repr=False, compare=False)
    """The function that makes a kernel, by the name of its property here."""

    @cached_property
    def pair_split(self) -> Kernel:
        """The pair kernel that stores the state of each part of j instead of results."""
        return self._make("pair_split")

    @cached_property
    def merge(self) -> Kernel:
        """The kernel that merges the states of parts and computes the results."""
        return self._make("merge")

    @cached_property
    def join(self) -> Kernel:
        """The kernel that merges the states of parts and stores the merged state."""
        return self._make("join")


def lower(
    program: MapReduce,
    dtype: str,
    schedule: Schedule,
    facts: DeviceFacts,
    batched: bool = False,
    ranged: bool = False,
    wide: bool = False,
) -> Lowered:
    """The kernels of ``program`` for ``dtype`` (``"float"`` or ``"double"``).

    With ``batched``, one launch serves all indices of a batch. With ``ranged``, kernels visit the pairs in tables. With
    ``wide``, formulas are computed in ``dtype``, while states and results are double.

    Raises `ScheduleError` if the schedule does not fit, and `FormulaError` if the formula is too long or too deep.
    """
    schedule.check(facts)
    check_length(program.values, schedule.unroll, schedule.rows, schedule.cols)
    of_state = "double" if wide else dtype
    wide = wide and dtype == "float"
    check_state(program, replace(schedule, flush=False) if wide else schedule, 4 if of_state == "float" else 8)
    with _deep_formulas_refused():
        threshold = None if wide else threshold_of(program)
        values = with_known_signs(simplify((threshold.term,) if threshold else program.values))
        hoisted = hoist(values, schedule.unroll)
        panel = schedule.lanes if schedule.lanes > 1 else ROWS_OF_PANEL
        stored = tuple(
            lower_map(node, dtype, schedule, panel if leaf in hoisted.panels else 0, batched, ranged)
            for leaf, node in hoisted.stored
        )

        def lowering() -> PairLowering:
            if not program.reduction.keeps_terms:
                return PairLowering(program, hoisted.values, hoisted.panels, dtype, schedule, facts, ranged, wide)
            limit = threshold.limit if threshold else None
            return NearestLowering(program, hoisted.values, hoisted.panels, dtype, schedule, facts, ranged, wide, limit)

        def make(name: str) -> Kernel:
            with _deep_formulas_refused():
                match name:
                    case "pair_split":
                        return lowering().kernel(True, batched)
                    case "merge":
                        return lower_merge(program, of_state, schedule, batched, ranged)
                    case "join":
                        return lower_join(program, of_state, schedule, batched)
            raise KeyError(name)

        pair = lowering()
        leaves = tuple(leaf for leaf, _ in hoisted.stored)
        return Lowered(stored, leaves, pair.kernel(False, batched), pair.inputs, make)


@contextlib.contextmanager
def _deep_formulas_refused() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise FormulaError("the formula is nested too deeply for a kernel: compute parts of it on their own") from None
