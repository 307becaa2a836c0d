"""True integers: what counts terms, and differences of positions. Formulas in text see numbers only."""

from __future__ import annotations

import numpy as np

from clreduce.ir.op import Op, elementwise

tally: Op = elementwise("tally", cost=1, arity=2, numpy=np.add, code="{0} + {1}", partials=None, kind=None)
"""The sum of two counts, or of a position and an integer."""
difference_of_indices: Op = elementwise(
    "difference_of_indices", cost=1, arity=2, numpy=np.subtract, code="{0} - {1}", partials=None, kind=None
)
"""The difference of two positions or integers."""
as_real: Op = elementwise(
    "as_real", cost=1, numpy=np.float64, code="to_real_{T}({0})", functions=("to_real",), partials=None
)  # fmt: skip
"""A count as a number of the data's precision."""
