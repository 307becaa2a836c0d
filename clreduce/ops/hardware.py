"""Functions that a GPU has an instruction for, as OpenCL names them: ``native_exp2`` and its kin, of float32.

No formula has them. `clreduce.codegen.forms` writes them into kernels of devices on which a trial has seen that their
errors fit the bounds below. Derivatives are taken before that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clreduce.ir.op import INF, NAN, Array, Op, elementwise


@dataclass(frozen=True)
class NativeFunction:
    """A function of the hardware, and what a device must keep for kernels to call it."""

    op: Op
    bound: float
    """Largest relative error of ordinary results, arguments and results being normal numbers."""
    exponents: tuple[int, int]
    """Exponents, to base 2, of the arguments for which that holds."""
    signed: bool
    """Whether it holds for negative arguments, too."""
    exact: tuple[tuple[float, float], ...]
    """Special arguments with their values."""

    @property
    def name(self) -> str:
        """The name of the function in the facts of a device."""
        return self.op.name.removeprefix("native_")


NATIVE: dict[str, NativeFunction] = {}
"""By name without ``native_``."""


def _native(
    name: str,
    numpy: Callable[[Array], Array],
    ulp: float,
    exponents: tuple[int, int],
    exact: tuple[tuple[float, float], ...],
    *,
    signed: bool = False,
    never_negative: bool = False,
) -> Op:
    op = elementwise(
        f"native_{name}", numpy=numpy, code=f"native_{name}({{0}})", partials=None, never_negative=never_negative
    )
    NATIVE[name] = NativeFunction(op, ulp * 2.0**-23, exponents, signed, (*exact, (NAN, NAN)))
    return op


fast_smaller: Op = elementwise(
    "fast_smaller", cost=1, arity=2, numpy=np.fmin, code="fmin({0}, {1})", partials=None
)  # fmt: skip
"""The smaller of two, of which the first is never nan: one instruction of a GPU, where a comparison and a choice are
two."""
fast_larger: Op = elementwise(
    "fast_larger", cost=1, arity=2, numpy=np.fmax, code="fmax({0}, {1})", partials=None
)  # fmt: skip
"""The larger of two, of which the first is never nan."""
minus_magnitude: Op = elementwise(
    "minus_magnitude", cost=1, numpy=lambda x: -np.abs(x), code="-fabs({0})", partials=None
)  # fmt: skip
"""-|f|, which instructions of a GPU take as an operand."""


exp_by_roots: Op = elementwise(
    "exp_by_roots", numpy=np.exp, code="exp_by_roots_{T}({0}, roots)", functions=("exp_by_roots", "root_of_2"),
    partials=None, never_negative=True,
)  # fmt: skip
"""e^f in double precision, from a table of 2^(k / 64) in local memory: nine instructions for numbers of double
precision less than without one. Error: 1.1 ulp, and abs(f) * 1.5e-17 of the result."""
exp_by_roots_never_above_1: Op = elementwise(
    "exp_by_roots_never_above_1", numpy=np.exp, code="exp_by_roots_never_above_1_{T}({0}, roots)",
    functions=("exp_by_roots_never_above_1", "root_of_2"), partials=None, never_negative=True,
)  # fmt: skip
"""e^f for f that is not above 0."""


def _reciprocal_root(x: Array) -> Array:
    return np.asarray(1 / np.sqrt(x))


native_exp2: Op = _native(
    "exp2", np.exp2, 2, (-30, 6), ((0.0, 1.0), (-200.0, 0.0), (-1e30, 0.0), (-INF, 0.0), (200.0, INF), (INF, INF)),
    signed=True, never_negative=True,
)  # fmt: skip
"""2^f: NVIDIA's and AMD's hardware have 1 to 2 ulp. Results below 2^-126 may be 0."""
native_recip: Op = _native(
    "recip", np.reciprocal, 1.5, (-125, 125), ((0.0, INF), (-0.0, -INF), (INF, 0.0), (-INF, -0.0)), signed=True
)
"""1 / f; 0 where that is below 2^-126."""
native_sqrt: Op = _native("sqrt", np.sqrt, 2, (-125, 127), ((0.0, 0.0), (INF, INF), (-1.0, NAN)), never_negative=True)
"""The square root."""
native_rsqrt: Op = _native(
    "rsqrt", _reciprocal_root, 2, (-125, 127), ((0.0, INF), (INF, 0.0), (-1.0, NAN)), never_negative=True
)
"""1 / Sqrt(f)."""
