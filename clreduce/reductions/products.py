"""The product over j."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import constant, integer
from clreduce.ops.arithmetic import mul
from clreduce.ops.compare import equal, logical_and, where
from clreduce.ops.indices import tally
from clreduce.ops.shape import concat
from clreduce.reductions.reduction import Column, Reduction, Slot, State, register
from clreduce.typing import Array

_ZERO, _ONE = constant(0), constant(1)

# The product of the other terms is the product divided by the term, unless the term is 0. So derivatives read the
# product p of the nonzero terms, the number n of zero terms and their sum z. With one zero, z is that term; with two
# zeros, z minus one of them is the other. z is 0 but its derivative is not, so second derivatives are right at zeros.


def _parts_update(state: State, columns: Sequence[Column]) -> State:
    product, zeros, count = state
    for column in columns:
        term = column.values[0]
        is_zero = equal(term, _ZERO)
        product = product * where(is_zero, _ONE, term)
        zeros = zeros + where(is_zero, term, _ZERO)
        count = tally(count, where(is_zero, integer(1), integer(0)))
    return product, zeros, count


def _parts_finish(state: State) -> tuple[Expr, ...]:
    product, zeros, count = state
    return where(equal(count, integer(0)), product, product * _ZERO), product, zeros, count


def _parts_numpy(values: Array) -> tuple[Array, ...]:
    with np.errstate(all="ignore"):
        product = np.where(values == 0, 1, values).prod(1)
        return values.prod(1), product, np.zeros_like(product), (values == 0).sum(1)


def _others(term: Expr, product: Expr, zeros: Expr, count: Expr) -> Expr:
    """The product of the other terms."""
    is_zero = equal(term, _ZERO)
    rest = product / term
    only, second = (logical_and(is_zero, equal(count, integer(n))) for n in (1, 2))
    one_other = where(equal(count, integer(1)), rest * zeros, _ZERO)
    at_zero = where(only, product, where(second, product * (zeros - term), _ZERO))
    return where(is_zero, at_zero, where(equal(count, integer(0)), rest, one_other))


def _tangents(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> tuple[Expr, ...]:
    (term,), (_, product, zeros, count), (d_term,) = column.values, residuals, d_values
    is_zero = equal(term, _ZERO)
    d_product = where(is_zero, _ZERO, product / term) * d_term
    return _others(term, product, zeros, count) * d_term, d_product, where(is_zero, d_term, _ZERO)


register(
    Reduction(
        name="Prod",
        doc="Product of the terms, component by component; 1 over nothing. Slopes are right where terms are 0, too, "
        "and second derivatives.",
        slots=lambda dims: (Slot(dims[0], 1.0),),
        update=lambda state, columns: (reduce(mul, [column.values[0] for column in columns], state[0]),),
        merge=lambda a, b: (a[0] * b[0],),
        finish=lambda state, first: state,
        numpy=lambda values: _parts_numpy(values)[:1],
        tangent=lambda column, residuals, d_values: _tangents(column, residuals, d_values)[0],
        residual="Prod_Parts",
    )
)
register(
    Reduction(
        name="Prod_Parts",
        doc="Product of the terms; that of the terms that are not 0, the sum and the number of those that are.",
        slots=lambda dims: (Slot(dims[0], 1.0), Slot(dims[0], 0.0), Slot(dims[0], 0.0, INDEX)),
        update=_parts_update,
        merge=lambda a, b: (a[0] * b[0], a[1] + b[1], tally(a[2], b[2])),
        finish=lambda state, first: _parts_finish(state),
        numpy=_parts_numpy,
        tangent=lambda column, residuals, d_values: concat(*_tangents(column, residuals, d_values)),
        residual="Prod_Parts",
    ),
    internal=True,
)
