"""Arithmetic of the indices i and j themselves, in true integers, and their conversion to numbers."""

from __future__ import annotations

import numpy as np

from clreduce.ir.expr import INDEX
from clreduce.ir.op import Array, Op, elementwise


def _real(index: Array) -> Array:
    return np.asarray(index, np.float64)


as_real: Op = elementwise(
    "as_real", cost=1, numpy=_real, code="to_real_{T}({0})", functions=("to_real",), partials=None,
)  # fmt: skip
"""An index as a number: exact up to 2^24 in float32, rounded beyond. Its derivative is zero."""
index_sum: Op = elementwise("index_sum", cost=1, arity=2, numpy=np.add, code="{0} + {1}", partials=None, kind=INDEX)
index_difference: Op = elementwise(
    "index_difference", cost=1, arity=2, numpy=np.subtract, code="{0} - {1}", partials=None, kind=INDEX
)
