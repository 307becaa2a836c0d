"""How far a kernel's result may be from NumPy's in float64: as far as rounding errors can carry the same program.

The program is evaluated again with *noise*: each value that an operation rounds is multiplied by 1 plus a random number
of some units in the last place of the kernel's dtype, and passes through that dtype, so that it may overflow or vanish.
Where the results of such runs lie apart the formula magnifies errors, or jumps: a comparison of nearly equal numbers, a
tie between terms. A kernel's result must lie among them, or not farther off than they are from each other. A few runs
clear most results. What they don't is looked at again with many, and only then called wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from oracle import Array

from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, REAL, Expr, topological
from clreduce.ir.op import COSTLY, constant_value, position
from clreduce.program import MapReduce

NOISE = 8.0
"""In units in the last place: more than the error of any single operation on any device."""
FEW, MANY = 4, 64
WIDEN = {FEW: 6.0, MANY: 2.0}
"""How far outside the range of the runs a result may lie, in widths of that range."""
VAGUE = 1e-2
"""A range as wide as this, relative to the result, tells little: such samples are counted."""


@dataclass(frozen=True)
class Verdict:
    """What comparing the results of one call with the runs has shown."""

    wrong: tuple[str, ...]
    """One line for each output with wrong components."""
    again: bool
    """Whether many runs were needed."""
    vague: bool
    """Whether some component was compared with a wide range, or could not be compared."""


def leaves_of(program: MapReduce, arrays: Sequence[Array], rows: int, columns: int) -> dict[Expr, Array]:
    """The value of each slot and position, of shape (M or 1, N or 1, D)."""
    leaves: dict[Expr, Array] = {
        position(Domain.I): np.arange(rows)[:, None, None],
        position(Domain.J): np.arange(columns)[None, :, None],
    }
    for slot, array in zip(program.slots, arrays, strict=True):
        axes = {Domain.I: (1,), Domain.J: (0,), Domain.P: (0, 1)}[slot.domain]
        leaves[slot] = np.expand_dims(np.asarray(array, np.int64 if slot.kind == INDEX else np.float64), axes)
    return leaves


class Blur:
    """Noise of one run."""

    def __init__(self, dtype: str, rng: np.random.Generator) -> None:
        self.info, self.rng = np.finfo(dtype), rng
        self.flushes = bool(rng.integers(2))
        """Whether what is below the normal numbers counts as 0."""

    def noise(self, shape: tuple[int, ...]) -> Array:
        return 1 + NOISE * float(self.info.eps) * self.rng.uniform(-1, 1, shape)

    def __call__(self, value: Array, exact: Array | bool = False) -> Array:
        """``value`` with noise where it is not ``exact``."""
        noisy = np.where(exact, value, value * self.noise(value.shape)).astype(self.info.dtype).astype(np.float64)
        return np.where(np.abs(noisy) < self.info.tiny, 0.0, noisy) if self.flushes else noisy

    def node(self, node: Expr, args: Sequence[Array]) -> Array:
        """The value of ``node`` for noisy arguments."""
        if node.op.terms is not None and node.op.linear:
            args = [self(args[0])]  # a sum's error is proportional to its terms, not to what is left of them
        elif _is_function(node):
            # Near a zero, such as that of Sin at pi, its error is as small as that of its argument, and no smaller.
            args = [self(arg) if part.kind == REAL else arg for part, arg in zip(node.args, args, strict=True)]
        found = node.op.numpy(*args, *node.params)
        if node.kind != REAL or (node.op.linear and node.op.terms is None):
            return found
        known = constant_value(node)
        if known is not None:
            return self(found, found.astype(self.info.dtype) == found)
        # A choice between arguments, or a change of sign, rounds nothing.
        exact = np.zeros(found.shape, bool)
        for part, arg in zip(node.args, args, strict=True):
            if part.kind == REAL and part.dim in (1, node.dim) and not node.op.linear:
                exact |= np.abs(found) == np.abs(arg)
        return self(found, exact)

    def table(self, dense: Array) -> Array:
        """All terms, with the noise of adding them up: some for each term, some for all terms of a row."""
        return dense * self.noise(dense.shape) * self.noise((len(dense), 1, dense.shape[-1]))


def _is_function(node: Expr) -> bool:
    """Whether it is a smooth function that kernels compute by approximation."""
    op = node.op
    if not op.functions or op.cost < COSTLY or op.partials is None:
        return False
    return any(part is not None for part in op.partials(node, *node.args, *node.params))


def noisy_results(
    program: MapReduce, arrays: Sequence[Array], rows: int, columns: int, blur: Blur
) -> tuple[tuple[Array, ...], Array]:
    """The results of ``program`` by NumPy, with noise, and the terms of its first formula."""
    value = leaves_of(program, arrays, rows, columns)
    with np.errstate(all="ignore"):
        for node in topological(program.values):
            if node not in value:
                value[node] = blur.node(node, [value[arg] for arg in node.args])
        tables = [np.broadcast_to(value[f], (rows, columns, f.dim)) for f in program.values]
        if all(output.kind == REAL for output in program.outputs):
            tables = [blur.table(table) for table in tables]
        # A reduction that finds indices compares terms, and rounds none.
        return program.reduction.numpy(*tables), tables[0]


def judge(
    found: Sequence[Array], program: MapReduce, arrays: Sequence[Array], rows: int, columns: int, dtype: str, seed: int
) -> Verdict:
    """Compare the results ``found`` of a kernel with those of the program by NumPy."""
    exact = program.reference(arrays, rows, columns)
    rng = np.random.default_rng(seed)
    assert len(found) == len(exact) == len(program.outputs)
    for result, right, output in zip(found, exact, program.outputs, strict=True):
        assert result.shape == right.shape == (rows, output.dim)
        assert result.dtype == (np.int64 if output.kind == INDEX else np.dtype(dtype))
    runs = [exact]
    low, high = np.inf, -np.inf
    for count in (FEW, MANY):
        while len(runs) <= count:
            results, terms = noisy_results(program, arrays, rows, columns, Blur(dtype, rng))
            runs.append(results)
            low, high = np.minimum(low, terms), np.maximum(high, terms)
        wrong, vague = [], False
        for n, (result, output) in enumerate(zip(found, program.outputs, strict=True)):
            stacked = np.stack([run[n] for run in runs])
            outside = _not_among if output.kind == INDEX else _outside
            off, unclear = outside(result, stacked, WIDEN[count], dtype)
            if off.any() and count == MANY and output.kind == INDEX and "Arg" in program.reduction.name:
                off &= ~_as_good(result, exact[n], low, high)
            vague |= unclear
            if off.any():
                row, k = np.argwhere(off)[0]
                among = stacked[:, row, k]
                wrong.append(
                    f"output {n}: {off.sum()} of {off.size} components are wrong; at row {row}, component {k}: found "
                    f"{result[row, k]!r}, by NumPy {among[0]!r}, with noise {np.min(among)!r} to {np.max(among)!r}"
                )
        if not wrong:
            break
    return Verdict(tuple(wrong), count == MANY, vague)


def _not_among(found: Array, runs: Array, widen: float, dtype: str) -> tuple[Array, bool]:
    """Where an index is none of those that any run found."""
    return ~(found == runs).any(0), False


def _as_good(found: Array, expected: Array, low: Array, high: Array) -> Array:
    """Where the terms at two indices may be equal, by the ranges that noise gives them: of many, any may be found."""
    rows, columns, dim = low.shape
    if columns == 0:
        return np.zeros(found.shape, bool)
    inside = (found >= 0) & (found < columns) & (expected >= 0)

    def at(terms: Array, index: Array) -> Array:
        places = np.clip(index, 0, columns - 1).reshape(rows, -1, dim)
        return np.take_along_axis(terms, places, 1).reshape(index.shape)

    (low_found, high_found), (low, high) = ((at(low, index), at(high, index)) for index in (found, expected))
    with np.errstate(invalid="ignore"):
        overlap = (low_found <= high) & (low <= high_found)
        # Terms that noise leaves equal are equal, and then it is the first that is wanted.
        return inside & overlap & ~((low_found == low) & (high_found == high))


def _outside(found: Array, runs: Array, widen: float, dtype: str) -> tuple[Array, bool]:
    """Where a number is too far from those of the runs; and whether that could not be told everywhere."""
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        low, high = runs.min(0), runs.max(0)
        size = np.maximum(np.abs(low), np.abs(high))
        margin = widen * (high - low) + 4 * float(info.eps) * size + 4 * float(info.tiny)
        near = (low - margin <= found) & (found <= high + margin)
        finite = np.isfinite(runs).all(0) & (size < info.max / 4)
        same = np.isnan(runs).all(0) & np.isnan(found) | ((low == high) & (found == low))
        # Runs that are neither all finite nor all the same say nothing.
        settled = np.isnan(runs).all(0) | ((low == high) & (np.isinf(low) | (size < info.max / 4)))
        wide = finite & (high - low > VAGUE * size) & (size > info.tiny / info.eps)
    return np.where(finite, ~near, settled & ~same), bool((~finite & ~settled).any() or wide.any())
