"""`scan`: a recurrence, which kernels compute in a loop over its steps.

A step computes a new carry, a vector of fixed length, from the previous one. The formula of a step, the body, is a
parameter of the node and appears once. Derivatives of scans are scans (``clreduce/autodiff.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import REAL, Expr
from clreduce.ir.op import Array, Inference, Op, joined, register, variable
from clreduce.ops.shape import concat, extract

Body = Callable[[Expr, Sequence[Expr], Sequence[Expr]], Expr]
"""``body(carry, series, shared)``: the carry after a step, given that before it, this step's part of each series, and
what all steps share."""


@dataclass(frozen=True)
class Recurrence:
    """The parameters of a scan."""

    body: Expr
    """The carry after a step, a formula in the variables `carry_leaf`, `series_leaf` and `shared_leaf`."""
    steps: int
    series: int
    """The number of series among the arguments after the first carry; each has ``steps`` vectors of equal length."""
    backwards: bool = False
    """Whether the last part of each series is the first that is taken."""
    last: bool = False
    """Whether the value is the carry after the last step; else it consists of the carries after all steps."""

    def __str__(self) -> str:
        from clreduce.ir.show import show

        order = f"{'backwards, ' if self.backwards else ''}{'last' if self.last else 'all'}"
        return f"{self.steps} steps {order}: {show(self.body)}"


def carry_leaf(dim: int) -> Expr:
    """The variable of a body that stands for the carry before a step."""
    return variable("carry", dim, Domain.IJ)


def series_leaf(number: int, dim: int) -> Expr:
    """The variable of a body that stands for the step's part of a series."""
    return variable(f"series{number}", dim, Domain.IJ)


def shared_leaf(number: int, dim: int) -> Expr:
    """The variable of a body that stands for an argument that all steps share."""
    return variable(f"shared{number}", dim, Domain.IJ)


@dataclass(frozen=True)
class Scan:
    """The parts of a scan node."""

    recurrence: Recurrence
    start: Expr
    series: tuple[Expr, ...]
    shared: tuple[Expr, ...]

    @classmethod
    def of(cls, node: Expr) -> Scan:
        (recurrence,) = node.params
        start, *others = node.args
        return cls(recurrence, start, tuple(others[: recurrence.series]), tuple(others[recurrence.series :]))

    @property
    def part_lengths(self) -> list[int]:
        """The length of one step's part of each series."""
        return [series.dim // self.recurrence.steps for series in self.series]

    @property
    def leaves(self) -> tuple[Expr, list[Expr], list[Expr]]:
        """The variables of the body: carry, series, shared."""
        return (
            carry_leaf(self.start.dim),
            [series_leaf(n, dim) for n, dim in enumerate(self.part_lengths)],
            [shared_leaf(n, arg.dim) for n, arg in enumerate(self.shared)],
        )


def _infer(args: tuple[Expr, ...], params: tuple[Any, ...]) -> Inference:
    (recurrence,) = params
    dim = recurrence.body.dim
    return dim if recurrence.last else dim * recurrence.steps, joined(args), REAL


def _numpy(start: Array, *others: Any) -> Array:
    *arrays, recurrence = others
    steps = recurrence.steps
    series, shared = arrays[: recurrence.series], arrays[recurrence.series :]
    known = {shared_leaf(n, array.shape[-1]): array for n, array in enumerate(shared)}
    carry, carries = start, [start] * steps
    for t in reversed(range(steps)) if recurrence.backwards else range(steps):
        known[carry_leaf(carry.shape[-1])] = carry
        for n, array in enumerate(series):
            dim = array.shape[-1] // steps
            known[series_leaf(n, dim)] = array[..., t * dim : (t + 1) * dim]
        (carry,) = evaluate([recurrence.body], known)
        carries[t] = carry
    if recurrence.last:
        return carry
    shape = np.broadcast_shapes(*(array.shape for array in carries))
    return np.concatenate([np.broadcast_to(array, shape) for array in carries], -1)


scan: Op = register(Op("scan", _infer, _numpy, arity=None))
"""The carries after the steps of a recurrence, or the last one; built by `scanned`."""


def scanned(
    body: Body, start: Expr, steps: int, series: Sequence[Expr] = (), shared: Sequence[Expr] = (),
    backwards: bool = False, last: bool = False,
) -> Expr:  # fmt: skip
    """The carries ``carry_t = body(carry_(t-1), series_t, shared)`` for t < ``steps``, from ``start``: all of them
    concatenated, or the ``last`` one.

    >>> x = variable("x", 5, Domain.I)
    >>> sums = scanned(lambda carry, series, shared: carry + series[0], extract(x, 0, 1), 4, [extract(x, 1, 4)])
    >>> sums.dim, scan.numpy(np.zeros(1), np.arange(1.0, 5.0), *sums.params)
    (4, array([ 1.,  3.,  6., 10.]))
    """
    for part in series:
        if part.dim % steps:
            raise ShapeError(
                f"a series of {steps} steps needs a length that is a multiple of {steps}; got length {part.dim}"
            )
    new = body(
        carry_leaf(start.dim),
        [series_leaf(n, part.dim // steps) for n, part in enumerate(series)],
        [shared_leaf(n, part.dim) for n, part in enumerate(shared)],
    )
    if new.dim != start.dim:
        raise ShapeError(f"a step must keep the length of the carry; it makes length {new.dim} of length {start.dim}")
    return Expr(scan, (start, *series, *shared), (Recurrence(new, steps, len(series), backwards, last),))


def carries_before(node: Expr) -> Expr:
    """The carries before the steps of a scan, concatenated."""
    parts = Scan.of(node)
    recurrence, start = parts.recurrence, parts.start
    if recurrence.steps == 1:
        return start
    every = with_all_carries(node)
    length = (recurrence.steps - 1) * start.dim
    return shifted(every, start, length, recurrence.backwards)


def shifted(every: Expr, end: Expr, length: int, backwards: bool) -> Expr:
    """``every`` shifted by one step against the order of steps, with ``end`` at the free place."""
    if backwards:
        return concat(extract(every, end.dim, length), end)
    return concat(end, extract(every, 0, length))


def with_all_carries(node: Expr) -> Expr:
    """The scan whose value consists of the carries after all steps."""
    (recurrence,) = node.params
    if not recurrence.last:
        return node
    every = Recurrence(recurrence.body, recurrence.steps, recurrence.series, recurrence.backwards)
    return Expr(scan, node.args, (every,))


def product(f: Expr) -> Expr:
    """The product of all components, one after the other."""
    first, others = extract(f, 0, 1), extract(f, 1, f.dim - 1)
    return scanned(lambda carry, series, shared: carry * series[0], first, f.dim - 1, [others], last=True)


__all__ = [
    "Recurrence", "Scan", "carries_before", "product", "scan", "scanned", "shifted", "with_all_carries",
]  # fmt: skip
