"""`MapReduce`: formulas, a reduction over j, and variables in numbered slots; independent of devices and schedules.

Below the front end, the output index is always i and the reduced index is j; a reduction over i exchanges the two.
Equal programs are equal values, so kernels and plans are shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from clreduce.autodiff import jvp, vjp
from clreduce.domain import Domain
from clreduce.errors import NotDifferentiableError, ShapeError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import INDEX, REAL, Expr, substitute, topological
from clreduce.ir.factors import arrange_moderate_products, arrange_products
from clreduce.ir.fast import with_dot_products
from clreduce.ir.op import position, variable
from clreduce.ir.rewrite import simplify
from clreduce.memo import memoised
from clreduce.ops.shape import concat, extract, zeros
from clreduce.reductions.compensated import compensated
from clreduce.reductions.reduction import Column, Reduction, Slot, differentiable_names, reduction_named
from clreduce.typing import Array


@dataclass(frozen=True)
class Output:
    """One result of a program: ``dim`` numbers per row, real or integer."""

    dim: int
    kind: str


@dataclass(frozen=True)
class MapReduce:
    """A program ``out_i = reduction over j of values(i, j)``. `map_reduce` makes it and numbers the slots."""

    values: tuple[Expr, ...]
    reduction: Reduction
    slots: tuple[Expr, ...]
    """The variables; ``slots[n]`` has the name n."""

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """The length and kind of each result."""
        state = tuple(
            variable(("state", n), slot.dim, Domain.I, slot.kind) for n, slot in enumerate(self.state_slots)
        )  # fmt: skip
        first = variable("first", 1, Domain.I, INDEX)
        return tuple(Output(node.dim, node.kind) for node in self.reduction.finish(state, first))

    @property
    def state_slots(self) -> tuple[Slot, ...]:
        """The slots of the state of a row."""
        return self.reduction.slots(tuple(value.dim for value in self.values))

    @cached_property
    def has_positions(self) -> bool:
        """Whether results depend on the numbers of rows and columns."""
        has_indices = any(slot.kind == INDEX for slot in self.state_slots)
        return has_indices or any(node.op.name == "position" for node in topological(self.values))

    def reference(self, arrays: Sequence[Array], rows: int, columns: int) -> tuple[Array, ...]:
        """The results by NumPy in float64, from the dense ``rows`` x ``columns`` table; the oracle of tests.

        ``arrays`` has an array of shape (rows, D), (columns, D) or (D,) for each slot. Each result has shape (rows,
        D').
        """
        leaves: dict[Expr, Array] = {
            position(Domain.I): np.arange(rows)[:, None, None],
            position(Domain.J): np.arange(columns)[None, :, None],
        }
        for slot, array in zip(self.slots, arrays, strict=True):
            exact = np.asarray(array, np.float64 if slot.kind == REAL else np.int64)
            leaves[slot] = {Domain.I: exact[:, None], Domain.J: exact[None], Domain.P: exact.reshape(1, 1, -1)}[
                slot.domain
            ]
        dense = evaluate(self.values, leaves)
        full = [np.broadcast_to(v, (rows, columns, f.dim)) for v, f in zip(dense, self.values, strict=True)]
        return self.reduction.numpy(*full)

    @property
    def length(self) -> int:
        """The number of components of the formula if each is reduced separately; 0 if results combine components."""
        (*_, value) = self.values
        alone = all(output.dim == value.dim * (self.reduction.count or 1) for output in self.outputs)
        return value.dim if alone and len(self.values) == 1 else 0

    def components(self, start: int, stop: int) -> tuple[MapReduce, tuple[int, ...]]:
        """The program of the components [start, stop) of the formula, and the slots of this program that it reads."""
        (value,) = self.values
        program, leaves = map_reduce(
            [extract(value, start, stop - start)], self.reduction.name, self.reduction.count
        )  # fmt: skip
        return program, tuple(leaf.params[0] for leaf in leaves)

    @cached_property
    def residual(self) -> MapReduce | None:
        """The program whose results derivatives read as residuals; its first result is the first one of this program.

        None if derivatives read no residuals.
        """
        name = self.reduction.residual
        return replace(self, reduction=reduction_named(name, self.reduction.count)) if name else None

    @cached_property
    def real_outputs(self) -> tuple[int, ...]:
        """The numbers of the results that have derivatives."""
        return tuple(n for n, output in enumerate(self.outputs) if output.kind == REAL)

    def vjp(self, wrt: Sequence[int], outputs: Sequence[int] | None = None) -> list[Gradient]:
        """Reverse mode: programs that compute (d out / d slot)^T cotangent for the slots ``wrt``, one per output index.

        ``outputs`` are the numbers of the results with a cotangent; None means all real results. The other cotangents
        are zero. Raises `NotDifferentiableError` if the reduction or an operation has no derivative.
        """
        leaves = [self.slots[n] for n in wrt]
        extra = _Extra(self)
        differentials = tuple(variable(("d", n), v.dim, Domain.IJ) for n, v in enumerate(self.values))
        term = self._tangent(extra, differentials)
        dims = {n: self.outputs[n].dim for n in self.real_outputs}
        nonzero = dims if outputs is None else outputs
        cotangents = [
            extra.leaf("cotangent", n, dim, Domain.I) if n in nonzero else zeros(dim) for n, dim in dims.items()
        ]
        incoming = vjp({term: concat(*cotangents) if len(cotangents) > 1 else cotangents[0]}, differentials)
        active: dict[Expr, Expr] = {}
        for f, part in zip(self.values, incoming, strict=True):
            if part is not None:
                active[f] = active[f] + part if f in active else part
        by_leaf = {
            leaf: zeros(leaf.dim) if part is None else part
            for leaf, part in zip(leaves, vjp(active, leaves), strict=True)
        }  # fmt: skip
        gradients = []
        for domain in (Domain.I, Domain.J, Domain.P):
            group = [leaf for leaf in leaves if leaf.domain == domain]
            if group:
                parts = [by_leaf[leaf] for leaf in group]
                formula = concat(*parts) if len(parts) > 1 else parts[0]
                gradients.append(self._gradient(formula, extra, group, domain))
        return gradients

    def jvp(self, wrt: Sequence[int]) -> Gradient:
        """Forward mode: the program of the directional derivatives of the real results for tangents of the slots
        ``wrt``. The derivatives of several results are concatenated."""
        extra = _Extra(self)
        tangents = {self.slots[n]: extra.like("tangent", n, self.slots[n]) for n in wrt}
        d_values = [d or zeros(f.dim) for d, f in zip(jvp(self.values, tangents), self.values, strict=True)]
        (term,) = simplify([self._tangent(extra, d_values)])
        program, slots = map_reduce([term], "Sum")
        dims = tuple(self.outputs[n].dim for n in self.real_outputs)
        return Gradient(program, False, False, tuple(extra.source(slot) for slot in slots), (), dims)

    def _tangent(self, extra: _Extra, differentials: Sequence[Expr]) -> Expr:
        reduction = self.reduction
        if reduction.tangent is None:
            raise NotDifferentiableError(
                f"the reduction {reduction.name} has no derivative; "
                f"these reductions have one: {', '.join(differentiable_names())}"
            )
        residuals: list[Expr] = []
        if self.residual is not None:
            outputs = self.residual.outputs
            residuals = [extra.leaf("residual", n, o.dim, Domain.I, o.kind) for n, o in enumerate(outputs)]
        return reduction.tangent(Column(self.values, position(Domain.J)), residuals, differentials)

    def _gradient(self, formula: Expr, extra: _Extra, group: Sequence[Expr], domain: Domain) -> Gradient:
        (formula,) = simplify([formula])
        flipped = domain == Domain.J
        if flipped:
            formula, leaves = swapped(formula)
        else:
            leaves = {}
        program, slots = map_reduce([formula], "Sum")
        sources = tuple(extra.source(leaves.get(slot, slot)) for slot in slots)
        wrt = tuple(leaf.params[0] for leaf in group)
        return Gradient(program, flipped, domain == Domain.P, sources, wrt, tuple(leaf.dim for leaf in group))


@dataclass(frozen=True)
class Source:
    """The source of a slot of a derivative's program.

    ``role`` is ``"input"``, ``"residual"``, ``"cotangent"`` or ``"tangent"``. ``number`` is the slot of the original
    program for inputs and tangents, and the number of the output for residuals and cotangents.
    """

    role: str
    number: int


@dataclass(frozen=True)
class Gradient:
    """A program that computes derivatives of another one."""

    program: MapReduce
    flipped: bool
    """Whether its rows are the columns of the original program."""
    summed_rows: bool
    """Whether its rows must be added up, as for the derivative in a parameter."""
    sources: tuple[Source, ...]
    """The source of each slot."""
    wrt: tuple[int, ...]
    """The slots whose gradients are concatenated in the output; empty in forward mode."""
    dims: tuple[int, ...]
    """The length of each part of the output."""


class _Extra:
    """The variables of a derivative's program: those of the original program, and additional ones."""

    def __init__(self, program: MapReduce) -> None:
        self._sources: dict[Expr, Source] = {slot: Source("input", n) for n, slot in enumerate(program.slots)}

    def leaf(self, role: str, number: int, dim: int, domain: Domain, kind: str = REAL) -> Expr:
        node = variable((role, number), dim, domain, kind)
        self._sources[node] = Source(role, number)
        return node

    def like(self, role: str, number: int, slot: Expr) -> Expr:
        return self.leaf(role, number, slot.dim, slot.domain)

    def source(self, leaf: Expr) -> Source:
        return self._sources[leaf]


def swapped(formula: Expr) -> tuple[Expr, dict[Expr, Expr]]:
    """``formula`` with i and j exchanged, and the original variable of each new one."""
    replacement: dict[Expr, Expr] = {}
    origin: dict[Expr, Expr] = {}
    for node in topological([formula]):
        if node.op.name == "variable":
            name, dim, domain, kind = node.params
            replacement[node] = variable(name, dim, domain.swapped(), kind)
            origin[replacement[node]] = node
        elif node.op.name == "position":
            replacement[node] = position(node.params[0].swapped())
    (result,) = substitute([formula], replacement)
    return result, origin


def map_reduce(values: Sequence[Expr], reduction: str, count: int | None = None) -> tuple[MapReduce, tuple[Expr, ...]]:
    """The program of a reduction of formulas, and the original variable of each of its slots.

    ``values`` are the formula and, if the reduction takes two, the second formula. ``count`` is the number K of a
    reduction such as ``KMin``. Slots are numbered by first use, so formulas that differ only in names make one program.
    Raises `ShapeError` if the reduction does not take these formulas.
    """
    record = reduction_named(reduction, count)
    if len(values) != record.formulas:
        raise ShapeError(f"{reduction} needs {record.formulas} formula(s), not {len(values)}")
    if record.scalar and values[0].dim != 1:
        raise ShapeError(f"{reduction} needs a formula of length 1 beside formula2; it has length {values[0].dim}")
    leaves = tuple(node for node in topological(values) if node.op.name == "variable")
    renamed: Mapping[Expr, Expr] = {leaf: variable(n, *leaf.params[1:]) for n, leaf in enumerate(leaves)}
    return MapReduce(substitute(values, renamed), record, tuple(renamed.values())), leaves


def with_compensated_sums(program: MapReduce) -> MapReduce:
    """``program`` with compensated sums; unchanged if its reduction has no sums."""
    reduction = compensated(program.reduction) if program.reduction.blocked else None
    return program if reduction is None else replace(program, reduction=reduction)


@memoised(1024)
def with_fast_distances(program: MapReduce) -> MapReduce:
    """``program`` with squared distances as dot products (``ir/fast.py``); unchanged if there are none."""
    simple = simplify(program.values)
    return _with_values(program, simple, with_dot_products(simple))


@dataclass(frozen=True)
class Arrangement:
    """A program with products arranged for fewer multiplications per pair (``ir/factors.py``), in two versions."""

    careful: MapReduce
    """The program for any parameters."""
    moderate: MapReduce
    """The program for parameters of moderate size, which may be faster."""
    slots: tuple[int, ...]
    """The parameters that must have moderate size for it."""
    limit: float
    """Absolute values between ``1 / limit`` and ``limit`` are moderate."""

    def holds(self, arrays: Sequence[Array]) -> bool:
        """Whether the parameters in ``slots`` have moderate size; ``arrays`` has an array per slot of the program."""
        low, high = 1 / self.limit, self.limit
        for slot in self.slots:
            array: Any = arrays[slot]
            if not isinstance(array, np.ndarray):  # an array on a device is not read
                return False
            if array.size == 1:  # NumPy's functions would take as long as a step of a warm call
                if not low <= abs(array.item()) <= high:
                    return False
            else:
                sizes = np.abs(array)
                if not ((low <= sizes) & (sizes <= high)).all():
                    return False
        return True


@memoised(1024)
def arranged(program: MapReduce) -> Arrangement:
    """The arrangement of the products of ``program``."""
    simple = simplify(program.values)
    careful = _with_values(program, simple, arrange_products(simple))
    fast = arrange_moderate_products(simple)
    slots = tuple(leaf.params[0] for leaf in fast.parameters)
    return Arrangement(careful, _with_values(program, simple, fast.values) if slots else careful, slots, fast.limit)


def _with_values(program: MapReduce, simple: tuple[Expr, ...], values: tuple[Expr, ...]) -> MapReduce:
    """``program`` with rewritten ``values``; unchanged if these are equal to its ``simple`` formulas."""
    return program if values == simple else replace(program, values=values)
