"""Linear operations that move, repeat or add up components; each says which component of its argument it reads.

Kernels follow these remaps down to the data, so selecting and packing cost no instruction and no private array.
A vector of length ``outer * n * inner`` is read as an array of that shape, in row-major order.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import prod

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.index import Position, bounds
from clreduce.ir.op import INF, NAN, Array, Edge, Op, Term, constant, linear, spell
from clreduce.memo import memoised
from clreduce.ops.bounds.vectors import moved, sum_of_components


def _extract_dim(f: Expr, start: int, length: int) -> int:
    if start < 0 or length < 1 or start + length > f.dim:
        raise ShapeError(
            f"a vector of length {f.dim} has no components {start} to {start + length - 1}; components count from 0"
        )
    return length


def _pad_dim(f: Expr, start: int, total: int) -> int:
    if start < 0 or start + f.dim > total:
        raise ShapeError(f"a vector of length {f.dim} does not fit at place {start} of a vector of length {total}")
    return total


def _pad_numpy(value: Array, start: int, total: int) -> Array:
    out = np.zeros((*value.shape[:-1], total), value.dtype)
    out[..., start : start + value.shape[-1]] = value
    return out


def _pad_remap(k: Position, f: Expr, start: int, total: int) -> Term | None:
    low, high = bounds(k)
    return None if high < start or low >= start + f.dim else (0, k - start)


extract: Op = linear(
    "extract", bounds=moved, dim=_extract_dim, numpy=lambda value, start, length: value[..., start : start + length],
    transpose=lambda ct, f, start, length: (pad(ct, start, f.dim),),
    remap=lambda k, f, start, length: (0, k + start), interleaved=lambda n, start, length: (n * start, n * length),
)  # fmt: skip
pad: Op = linear(
    "pad", bounds=moved, dim=_pad_dim, numpy=_pad_numpy,
    transpose=lambda ct, f, start, total: (extract(ct, start, f.dim),),
    remap=_pad_remap, breaks=lambda f, start, total: [start, start + f.dim],
    interleaved=lambda n, start, total: (n * start, n * total),
)  # fmt: skip


@memoised(64)
def _offsets(args: tuple[Expr, ...]) -> list[int]:
    return [0, *accumulate(arg.dim for arg in args)]


def _concat_numpy(*values: Array) -> Array:
    shape = np.broadcast_shapes(*(value.shape[:-1] for value in values))
    return np.concatenate([np.broadcast_to(v, (*shape, v.shape[-1])) for v in values], -1)


def _concat_remap(k: Position, *args: Expr) -> Term | None:
    _, high = bounds(k)
    offsets = _offsets(args)
    which = bisect_right(offsets, high, 0, len(args)) - 1
    return which, k - offsets[which]


concat: Op = linear(
    "concat", bounds=moved, arity=None, dim=lambda *args: sum(arg.dim for arg in args), numpy=_concat_numpy,
    transpose=lambda ct, *args: [extract(ct, at, f.dim) for at, f in zip(_offsets(args), args, strict=False)],
    remap=_concat_remap, breaks=lambda *args: _offsets(args), interleaved=lambda n: (),
)  # fmt: skip


def _expand_dim(f: Expr, outer: int, n: int, inner: int) -> int:
    if f.dim != outer * inner:
        raise ShapeError(f"cannot read a vector of length {f.dim} as {outer} x {inner}")
    return outer * n * inner


def _reduce_sum_dim(f: Expr, outer: int, n: int, inner: int) -> int:
    if f.dim != outer * n * inner:
        raise ShapeError(f"cannot read a vector of length {f.dim} as {outer} x {n} x {inner}")
    return outer * inner


def _expand_numpy(value: Array, outer: int, n: int, inner: int) -> Array:
    head = value.shape[:-1]
    wide = np.broadcast_to(value.reshape(*head, outer, 1, inner), (*head, outer, n, inner))
    return wide.reshape(*head, outer * n * inner)


def _reduce_sum_numpy(value: Array, outer: int, n: int, inner: int) -> Array:
    head = value.shape[:-1]
    result: Array = value.reshape(*head, outer, n, inner).sum(-2).reshape(*head, outer * inner)
    return result


expand: Op = linear(
    "expand", bounds=moved, dim=_expand_dim, numpy=_expand_numpy,
    transpose=lambda ct, f, outer, n, inner: (reduce_sum(ct, outer, n, inner),),
    remap=lambda k, f, outer, n, inner: (0, (k // (n * inner)) * inner + k % inner),
    interleaved=lambda m, outer, n, inner: (outer, n, m * inner),
)  # fmt: skip
"""Repeat: out[a, b, c] = f[a, c] for b < n."""
reduce_sum: Op = linear(
    "reduce_sum", bounds=sum_of_components, dim=_reduce_sum_dim, numpy=_reduce_sum_numpy,
    transpose=lambda ct, f, outer, n, inner: (expand(ct, outer, n, inner),),
    remap=lambda k, t, f, outer, n, inner: (0, (k // inner) * (n * inner) + t * inner + k % inner),
    terms=lambda f, outer, n, inner: n, interleaved=lambda m, outer, n, inner: (outer, n, m * inner),
)  # fmt: skip
"""Add up: out[a, c] = sum over b of f[a, b, c]."""


def _permute_dim(f: Expr, shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    if prod(shape) != f.dim or sorted(axes) != list(range(len(shape))):
        raise ShapeError(f"cannot read a vector of length {f.dim} as {shape} and order its axes as {axes}")
    return f.dim


def _permute_numpy(value: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    head = value.shape[:-1]
    order = (*range(len(head)), *(len(head) + axis for axis in axes))
    result: Array = value.reshape(*head, *shape).transpose(order).reshape(*head, prod(shape))
    return result


def _permute_remap(k: Position, f: Expr, shape: tuple[int, ...], axes: tuple[int, ...]) -> Term:
    source: Position = 0
    below = 1
    for axis in reversed(axes):
        stride = prod(shape[axis + 1 :])
        source = source + (k // below) % shape[axis] * stride
        below *= shape[axis]
    return 0, source


def _permute_transpose(ct: Expr, f: Expr, shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[Expr]:
    return (permute(ct, tuple(shape[axis] for axis in axes), tuple(int(n) for n in np.argsort(axes))),)


permute: Op = linear(
    "permute", bounds=moved, dim=_permute_dim, numpy=_permute_numpy, transpose=_permute_transpose, remap=_permute_remap,
    interleaved=lambda n, shape, axes: ((*shape, n), (*axes, len(shape))),
)  # fmt: skip
"""Transpose: the vector read with ``shape`` and its axes put in the order ``axes``, as ``numpy.transpose`` does."""


def repeated(f: Expr, n: int) -> Expr:
    """A scalar as a vector of n equal components."""
    if f.dim != 1:
        raise ShapeError(f"only a vector of length 1 can be repeated; got length {f.dim}")
    if n < 1:
        raise ShapeError(f"a vector must have length 1 or more; got {n}")
    return f if n == 1 else expand(f, 1, n, 1)


def summed(f: Expr) -> Expr:
    """The sum of all components, length 1."""
    return f if f.dim == 1 else reduce_sum(f, 1, f.dim, 1)


def zeros(n: int) -> Expr:
    """A vector of n zeros."""
    return repeated(constant(0), n)


def element(f: Expr, m: int) -> Expr:
    """Component m, counted from 0."""
    if not 0 <= m < f.dim:
        raise ShapeError(f"Elem: a vector of length {f.dim} has no component {m}; components count from 0")
    return extract(f, m, 1)


def placed_element(f: Expr, n: int, m: int) -> Expr:
    """n zeros, but f, of length 1, at place m."""
    if f.dim != 1:
        raise ShapeError(f"ElemT places a single number; got a vector of length {f.dim}")
    if not 0 <= m < n:
        raise ShapeError(f"ElemT: a vector of length {n} has no place {m}; places count from 0")
    return pad(f, m, n)


spell("Sum", summed, "sum of the components", "f",
      edges=(Edge(((1, INF),), INF, ((1, 1),)), Edge(((1, NAN),), NAN, ((1, 1),))))  # fmt: skip
spell("SumT", repeated, "a vector of length 1 repeated n times", "f", "n", example=(1, 3))
spell("Zero", zeros, "n zeros", "", "n", example=(3,))
spell("Elem", element, "component m, counted from 0", "f", "m", example=(3, 1),
      edges=(Edge(((NAN, 5, INF),), 5, ((0, 1, 0),)),))  # fmt: skip
spell("ElemT", placed_element, "n zeros, but f (of length 1) at place m, counted from 0", "f", "n m", example=(1, 3, 1))
spell("Extract", extract, "components start to start + length - 1", "f", "start length", example=(4, 1, 2),
      edges=(Edge(((NAN, 5, 6, INF),), (5, 6), ((0, 1, 1, 0),)),))  # fmt: skip
spell("ExtractT", pad, "n zeros, but f from place start on", "f", "start n", example=(2, 1, 4))
spell("Concat", lambda f, g, *more: concat(f, g, *more), "the components of f, then those of g, and of any that follow",
      "f g", variadic=True, example=(2, 3), edges=(Edge((1, (2, NAN)), (1, 2, NAN), (1, (1, 1))),))  # fmt: skip
