"""The meaning of the IR on NumPy arrays: the oracle that every kernel is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from clreduce.ir.expr import REAL, Expr, topological
from clreduce.typing import Array


def evaluate(roots: Sequence[Expr], leaves: Mapping[Expr, Array], dtype: str | None = None) -> list[Array]:
    """The value of each root; the last axis is the vector, the axes before it broadcast as in NumPy.

    ``leaves`` gives an array for each variable and position node, for instance of shape (M, 1, D) or (1, N, D).
    ``dtype``: that of real numbers, to which each value is rounded; None: as NumPy promotes them, constants as float64.
    """
    value: dict[Expr, Array] = dict(leaves)
    with np.errstate(all="ignore"):
        for node in topological(roots):
            if node not in value:
                value[node] = node.op.numpy(*(value[arg] for arg in node.args), *node.params)
                if dtype is not None and node.kind == REAL:
                    value[node] = value[node].astype(dtype)
    return [value[root] for root in roots]
