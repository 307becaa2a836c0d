"""Truth values of components, and the choice that they make. Internal: formulas see the numbers 0 and 1."""

from __future__ import annotations

import numpy as np

from clreduce.ir.expr import MASK
from clreduce.ir.op import Array, Op, elementwise
from clreduce.ops.bounds.choices import choice, comparison, equality, logical, maximum_of_two, negation

less: Op = elementwise(
    "less", bounds=comparison, cost=1, arity=2, numpy=np.less, code="{0} < {1}", partials=None, kind=MASK
)
less_equal: Op = elementwise(
    "less_equal", bounds=comparison, cost=1, arity=2, numpy=np.less_equal, code="{0} <= {1}", partials=None, kind=MASK
)
equal: Op = elementwise(
    "equal", bounds=equality, cost=1, arity=2, numpy=np.equal, code="{0} == {1}", partials=None, kind=MASK
)
logical_and: Op = elementwise(
    "logical_and", bounds=logical, cost=1, arity=2, numpy=np.logical_and, code="{0} && {1}", partials=None, kind=MASK
)
logical_or: Op = elementwise(
    "logical_or", bounds=logical, cost=1, arity=2, numpy=np.logical_or, code="{0} || {1}", partials=None, kind=MASK
)
logical_not: Op = elementwise(
    "logical_not", bounds=negation, cost=1, numpy=np.logical_not, code="!{0}", partials=None, kind=MASK
)


def _choose(mask: Array, yes: Array, no: Array) -> Array:
    return np.where(mask, yes, no)


# A derivative that is a mask routes the cotangent instead of scaling it, so that 0 * inf never arises.
where: Op = elementwise(
    "where", bounds=choice, cost=1, arity=3, numpy=_choose, code="{0} ? {1} : {2}",
    partials=lambda out, mask, yes, no: (None, mask, logical_not(mask)), kind=None,
)  # fmt: skip


def _larger(a: Array, b: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.where(b > a, b, a)


def _smaller(a: Array, b: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.where(b < a, b, a)


larger: Op = elementwise(
    "larger", bounds=maximum_of_two(True, 1), cost=1, arity=2, numpy=_larger, code="{1} > {0} ? {1} : {0}",
    partials=lambda out, a, b: (logical_not(less(a, b)), less(a, b)),
)  # fmt: skip
"""The larger of two; a nan in the second argument is passed over. Ties count as the first."""
smaller: Op = elementwise(
    "smaller", bounds=maximum_of_two(True, -1), cost=1, arity=2, numpy=_smaller, code="{1} < {0} ? {1} : {0}",
    partials=lambda out, a, b: (logical_not(less(b, a)), less(b, a)),
)  # fmt: skip
"""The smaller of two; a nan in the second argument is passed over. Ties count as the first."""
