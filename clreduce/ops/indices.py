"""True integers: what counts terms, and differences of positions. Formulas in text see numbers only."""

from __future__ import annotations

import numpy as np

from clreduce.ir.expr import INDEX
from clreduce.ir.op import Array, Op, elementwise
from clreduce.ops.bounds.choices import added_indices, nearest_index, offset_in_table, subtracted_indices
from clreduce.ops.bounds.functions import monotone

tally: Op = elementwise(
    "tally", bounds=added_indices, cost=1, arity=2, numpy=np.add, code="{0} + {1}", partials=None, kind=None
)
"""The sum of two counts, or of a position and an integer."""
difference_of_indices: Op = elementwise(
    "difference_of_indices",
    bounds=subtracted_indices,
    cost=1,
    arity=2,
    numpy=np.subtract,
    code="{0} - {1}",
    partials=None,
    kind=None,
)
"""The difference of two positions or integers."""
as_real: Op = elementwise(
    "as_real", cost=1, numpy=np.float64, code="to_real_{T}({0})", functions=("to_real",), partials=None,
    bounds=monotone(1, ulps=0.5),
)  # fmt: skip
"""A count as a number of the data's precision."""
table_offset: Op = elementwise(
    "table_offset", bounds=offset_in_table, cost=3,
    numpy=lambda label, size, stride, outside: np.where((label >= 0) & (label < size), label * stride, outside),
    code=lambda size, stride, outside: f"{{0}} >= 0 && {{0}} < {size} ? {{0}} * {stride} : ({{R}})({outside})",
    partials=None, kind=INDEX,
)  # fmt: skip
"""``table_offset(label, size, stride, outside)``: label * stride if 0 <= label < size, else ``outside``."""


def _nearest(x: Array) -> Array:
    """-1 for what is far outside all tables, and for nan."""
    below = np.floor(x)
    nearest = below + (x - below >= 0.5)
    return np.where((nearest >= 0) & (nearest < 2.0**31), nearest, -1).astype(np.int64)


as_index: Op = elementwise(
    "as_index", cost=4, numpy=_nearest, code="to_index_{T}({0})", functions=("to_index",), partials=None, kind=INDEX,
    bounds=nearest_index,
)  # fmt: skip
"""The nearest whole number as a true integer, halves rounded up; -1 for what is negative, 2^31 or more, or nan."""
