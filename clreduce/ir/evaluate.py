"""The evaluation of formulas by NumPy, which defines their meaning. Tests compare every kernel with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from clreduce.ir.expr import REAL, Expr, topological
from clreduce.typing import Array


def evaluate(roots: Sequence[Expr], leaves: Mapping[Expr, Array], dtype: str | None = None) -> list[Array]:
    """The value of each root. The last axis is the vector; the axes before it broadcast as in NumPy.

    ``leaves`` has an array for each variable and position node, for instance of shape (M, 1, D) or (1, N, D). Each real
    value is rounded to ``dtype``; with None, NumPy's promotion decides, and constants are float64.
    """
    value: dict[Expr, Array] = dict(leaves)
    with np.errstate(all="ignore"):
        for node in topological(roots):
            if node not in value:
                value[node] = node.op.numpy(*(value[arg] for arg in node.args), *node.params)
                if dtype is not None and node.kind == REAL:
                    value[node] = value[node].astype(dtype, copy=False)
    return [value[root] for root in roots]
