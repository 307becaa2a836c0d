"""Reductions of a `LazyTensor`: over i or j by a kernel, over the vectors as one more step of the formula."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.frontends.lazy.base import Recorded
from clreduce.frontends.lazy.leaves import Leaf, Operand
from clreduce.frontends.vocabulary import checked_reduction
from clreduce.ir.expr import Expr
from clreduce.ir.op import FUNCTIONS, variable
from clreduce.ops.indices import as_real

CALL_OPTIONS = ("backend", "device_id", "ranges", "out")
MAKE_OPTIONS = (
    "dtype_acc", "use_double_acc", "sum_scheme", "enable_chunks", "rec_multVar_highdim", "use_fast_math", "fast",
)  # fmt: skip
_AXIS_FUNCTIONS = {"Sum": "Sum", "Min": "Min", "Max": "Max", "ArgMin": "ArgMin", "ArgMax": "ArgMax"}
_OVER_RESULTS = {"Sum": "sum", "Min": "min", "Max": "max", "Prod": "prod", "Any": "max", "All": "min", "Count": "sum"}
"""Reductions that may go on over further axes of the result, and how arrays call them."""


class PendingReduction:
    """A reduction that waits for the data of its symbolic variables: ``r(*arrays)`` computes it.

    It cannot be part of further formulas.
    """

    def __init__(
        self, tensor: Reductions, name: str, axis: int, count: Any, weight: Any, options: dict[str, Any]
    ) -> None:
        self.tensor, self.reduction_op, self.axis, self.opt_arg = tensor, name, axis, count
        self._weight, self._options = weight, options

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The result; ``args`` are the arrays of the symbolic variables, in the order of their positions."""
        return self.tensor._reduce(
            self.reduction_op, self.axis, self.opt_arg, self._weight, self._options | options, args
        )

    def __repr__(self) -> str:
        number = "" if self.opt_arg is None else f", opt_arg={self.opt_arg}"
        return f"{self.tensor!r}\nreduction: {self.reduction_op}, axis={self.axis}{number}; call it with the data"


class Reductions(Recorded):
    """What evaluates a `LazyTensor`."""

    __slots__ = ()

    # ----------------------------------------------------------------------------------------- over the vectors or i, j

    def sum(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Sum over axis: -1 for the components of the vectors (a tensor), i or j (an array), or a tuple of axes."""
        return self._along("Sum", axis, dim, options)

    def min(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Smallest over axis, as `sum` takes it; nan is passed over i and j."""
        return self._along("Min", axis, dim, options)

    def max(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Largest over axis, as `sum` takes it; nan is passed over i and j."""
        return self._along("Max", axis, dim, options)

    def argmin(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Index of the smallest over axis, the lowest of equals: int64 over i or j."""
        return self._along("ArgMin", axis, dim, options)

    def argmax(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Index of the largest over axis, the lowest of equals: int64 over i or j."""
        return self._along("ArgMax", axis, dim, options)

    def _along(self, name: str, axis: Any, dim: Any, options: dict[str, Any]) -> Any:
        axis = axis if dim is None else dim
        if axis == -1 or (type(axis) is int and axis == len(self._batch) + 2):
            if self.is_complex:
                if name != "Sum":
                    raise ShapeError(f"{name.lower()} of complex numbers has no meaning; take .real, .imag or abs()")
                return self._record(FUNCTIONS["ComplexSum"].build(self.expr), is_complex=True)
            expr = self.expr if self.expr.kind == "real" else as_real(self.expr)
            return self._record(FUNCTIONS[_AXIS_FUNCTIONS[name]].build(expr))
        return self.reduction(name, axis=axis, **options)

    # ---------------------------------------------------------------------------------------------------- over i or j

    def sum_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Sum over i or j."""
        return self.reduction("Sum", axis=axis, dim=dim, **options)

    def min_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Smallest over i or j."""
        return self.reduction("Min", axis=axis, dim=dim, **options)

    def max_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Largest over i or j."""
        return self.reduction("Max", axis=axis, dim=dim, **options)

    def argmin_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Index of the smallest over i or j."""
        return self.reduction("ArgMin", axis=axis, dim=dim, **options)

    def argmax_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Index of the largest over i or j."""
        return self.reduction("ArgMax", axis=axis, dim=dim, **options)

    def min_argmin(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Smallest over i or j, and its index."""
        return self.reduction("Min_ArgMin", axis=axis, dim=dim, **options)

    def max_argmax(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Largest over i or j, and its index."""
        return self.reduction("Max_ArgMax", axis=axis, dim=dim, **options)

    def Kmin(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """The K smallest over i or j, ascending: (M, K, D), or (M, K) if D is 1."""
        return self.reduction("KMin", opt_arg=K, axis=axis, dim=dim, **options)

    def argKmin(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Indices of the K smallest over i or j."""
        return self.reduction("ArgKMin", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmin_argKmin(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """The K smallest over i or j, and their indices."""
        return self.reduction("KMin_ArgKMin", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmax(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """The K largest over i or j, descending."""
        return self.reduction("KMax", opt_arg=K, axis=axis, dim=dim, **options)

    def argKmax(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Indices of the K largest over i or j."""
        return self.reduction("ArgKMax", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmax_argKmax(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """The K largest over i or j, and their indices."""
        return self.reduction("KMax_ArgKMax", opt_arg=K, axis=axis, dim=dim, **options)

    def logsumexp(self, axis: Any = None, dim: Any = None, weight: Any = None, **options: Any) -> Any:
        """log of the sum of exp over i or j, without overflow; ``weight`` multiplies the terms."""
        return self.reduction("LogSumExp", other=weight, axis=axis, dim=dim, **options)

    def sumsoftmaxweight(self, weight: Any, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """The mean of ``weight`` over i or j, weighted by exp of this."""
        return self.reduction("SumSoftMaxWeight", other=weight, axis=axis, dim=dim, **options)

    def prod(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Product over i or j."""
        return self.reduction("Prod", axis=axis, dim=dim, **options)

    def mean(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Mean over i or j."""
        return self.reduction("Mean", axis=axis, dim=dim, **options)

    def var(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Population variance over i or j."""
        return self.reduction("Var", axis=axis, dim=dim, **options)

    def any(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Whether any term over i or j is not 0."""
        return self.reduction("Any", axis=axis, dim=dim, **options)

    def all(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Whether no term over i or j is 0."""
        return self.reduction("All", axis=axis, dim=dim, **options)

    def reduction(
        self, reduction_op: str, other: Any = None, opt_arg: Any = None, axis: Any = None, dim: Any = None,
        call: bool = True, is_complex: bool | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """Any reduction over i or j, by its name: an array of shape (batch.., M or N, D).

        ``axis`` (or ``dim``) is that of i or of j in the shape (batch.., M, N, D); negative ones count from the end.
        A tuple may name further axes of the result, for sums, products and extrema. ``other`` is the second formula,
        the weights of a ``LogSumExp``. With ``call=False``, or if variables are symbolic, a `PendingReduction` waits
        for the data. Options are those of `Genred` and of its call.
        """
        name = checked_reduction(reduction_op, opt_arg, other).name
        unknown = [key for key in options if key not in CALL_OPTIONS and key not in MAKE_OPTIONS]
        if unknown:
            raise TypeError(f"unknown option {unknown[0]!r}; known are {', '.join((*CALL_OPTIONS, *MAKE_OPTIONS))}")
        reduced, further = self._axes(name, axis if axis is not None else dim)
        if further and options.get("out") is not None:
            raise ShapeError("out= goes with one axis; a reduction over several gives a new array")
        if not call or self._is_symbolic(other):
            if further:
                raise ShapeError("a reduction that waits for data is over one axis, i or j")
            return PendingReduction(self, name, reduced, opt_arg, other, options)
        result = self._reduce(name, reduced, opt_arg, other, options, ())
        return self.library.reduced(_OVER_RESULTS[name], result, further) if further else result

    def _axes(self, name: str, axis: Any) -> tuple[int, tuple[int, ...]]:
        """0 or 1 for i or j; and the axes of the result over which the reduction goes on."""
        rank, batch = len(self._batch) + 3, len(self._batch)
        if type(axis) is int and batch <= axis <= batch + 1:
            return axis - batch, ()
        if axis is None:
            raise TypeError(f"{name}: axis is missing: {batch} for i, {batch + 1} for j")
        axes = [_index(one) for one in (axis if isinstance(axis, tuple) else (axis,))]
        places = [one + rank if one < 0 else one for one in axes]
        for one, place in zip(axes, places, strict=True):
            if not 0 <= place < rank or places.count(place) > 1:
                raise ShapeError(
                    f"{name}: axis {one} of a tensor of shape {self._shape}: {batch} is i, {batch + 1} is j"
                )
        chosen = [place - batch for place in places if place in (batch, batch + 1)]
        if not chosen:
            raise ShapeError(
                f"{name} over axis {axis!r} of a tensor of shape {self._shape} is no reduction over i (axis {batch}) "
                f"or j (axis {batch + 1})"
            )
        if len(places) > 1 and name not in _OVER_RESULTS:
            raise ShapeError(f"{name} is over one axis, i ({batch}) or j ({batch + 1}); got {axis!r}")
        reduced = max(chosen)
        rest = [place for place in places if place != batch + reduced]
        return reduced, tuple(place if place < batch + reduced else place - 1 for place in rest)

    def _is_symbolic(self, other: Any) -> bool:
        leaves = [*self._leaves.values(), *(other._leaves.values() if isinstance(other, Recorded) else ())]
        return any(leaf.array is None for leaf in leaves)

    def _reduce(
        self, name: str, axis: int, count: Any, other: Any, options: dict[str, Any], given: tuple[Any, ...]
    ) -> Any:
        """The result over i (axis 0) or j (axis 1)."""
        both = self if other is None else self._record(self.expr, self._from(other))
        exprs: tuple[Expr, ...] = (self.expr,) if other is None else (self.expr, self._from(other).expr)
        is_complex = self.is_complex or (other is not None and self._from(other).is_complex)
        if is_complex and name != "Sum":
            raise ShapeError(f"{name} of complex numbers is not available: reduce .real, .imag or abs()")
        exprs = tuple(expr if expr.kind == "real" else as_real(expr) for expr in exprs)
        leaves = both._leaves
        arrays = self._arrays(leaves, given)
        if axis == 1 and both.nj is None and not given and not any(f.domain & Domain.J for f in leaves):
            raise ShapeError(f"{name} over j: nothing in this tensor of shape {both._shape} depends on j")
        if axis == 0 and both.ni is None and not given and not any(f.domain & Domain.I for f in leaves):
            raise ShapeError(f"{name} over i: nothing in this tensor of shape {both._shape} depends on i")
        made = {key: value for key, value in options.items() if key in MAKE_OPTIONS}
        called = {key: value for key, value in options.items() if key in CALL_OPTIONS and value is not None}
        if both.ranges is not None:
            called.setdefault("ranges", both.ranges)
        if both.backend is not None:
            called.setdefault("backend", both.backend)
        routine = self.routine.of(exprs, tuple(leaves), name, axis, count, tuple(made.items()))
        result = routine(*arrays, **called)
        return self.library.as_complex(result) if is_complex else result

    def _arrays(self, leaves: dict[Expr, Any], given: tuple[Any, ...]) -> list[Any]:
        """The data of a call: those of the leaves, and ``given`` for the symbolic ones in the order of positions."""
        symbols = sorted(leaf.params[0][1] for leaf, data in leaves.items() if data.array is None)
        if len(given) != len(symbols):
            raise ShapeError(f"the tensor has {len(symbols)} symbolic variables; got {len(given)} arrays")
        if symbols != list(range(len(symbols))):
            raise ShapeError(f"symbolic variables have positions 0, 1, 2 ... without a gap; these have {symbols}")
        arrays = []
        for leaf, data in leaves.items():
            if data.array is None:
                arrays.append(given[leaf.params[0][1]])
            elif isinstance(data.array, tuple):
                arrays.append(self.library.numbers(data.array))
            else:
                arrays.append(data.array)
        return arrays

    # ------------------------------------------------------------------------------------------------ linear operators

    def __matmul__(self, v: Any) -> Any:
        """``K @ v``: the product with vectors, of shape (N,), (.., N, E); gives (M,), (.., M, E)."""
        if isinstance(v, Recorded):
            raise ShapeError("the product of two symbolic matrices is not computed: write A @ (B @ v) for an array v")
        if self.expr.dim != (2 if self.is_complex else 1):
            raise ShapeError(f"K @ v needs one number for each pair (i, j); here K has shape {self._shape}")
        if not self.library.accepts(v):
            raise ShapeError(f"K @ v takes a {self.library.name} array; got {type(v).__name__}")
        if v.ndim == 0:
            raise ShapeError("K @ v takes an array of shape (N,) or (.., N, E); got a number")
        flat = v.ndim == 1
        wide = v.reshape((v.shape[0], 1)) if flat else v
        if self.nj is not None and wide.shape[-2] != self.nj:
            raise ShapeError(
                f"K @ v: K has shape {self.shape} and takes v of {self.nj} rows; got shape {tuple(v.shape)}"
            )
        product = self * self._columns(v, wide)
        result = product.sum(axis=len(product._batch) + 1)
        return result.reshape(result.shape[:-1]) if flat else result

    def _columns(self, v: Any, wide: Any) -> Any:
        """The rows of ``wide``, of shape (.., N, E), as vectors of j; ``v`` is the array that the user gave."""
        is_complex = self.library.dtype_name(v).startswith("complex")
        batch, (size, dim) = tuple(wide.shape[:-2]), wide.shape[-2:]
        leaf = variable(("data", id(v)), dim * (2 if is_complex else 1), Domain.J)
        made = type(self).__new__(type(self))
        made._adopt(Operand(leaf, {leaf: Leaf(wide, batch, v)}, batch, None, size), is_complex)
        return made

    def __rmatmul__(self, v: Any) -> Any:
        """``v @ K``, for an array v of shape (M,) or (.., E, M)."""
        if not self.library.accepts(v):
            raise ShapeError(f"v @ K takes a {self.library.name} array; got {type(v).__name__}")
        if v.ndim < 2:
            return self.T @ v
        return self.library.swapped(self.T @ self.library.swapped(v))

    def matvec(self, v: Any) -> Any:
        """``K @ v``, as SciPy calls it: NumPy vectors of another dtype are converted to that of K."""
        return self @ self._converted(v)

    def rmatvec(self, v: Any) -> Any:
        """``K.T @ v``, as SciPy calls it; for complex numbers the conjugate transpose."""
        return (self.T.conj() if self.is_complex else self.T) @ self._converted(v)

    def _converted(self, v: Any) -> Any:
        """Solvers mix dtypes: eigenvalues of float32 operators start from float64 vectors."""
        if not isinstance(v, np.ndarray) or self.dtype is None:
            return v
        narrow = self.dtype in ("float32", "complex64")
        kind = "complex" if v.dtype.kind == "c" or (self.is_complex and v.dtype.kind != "f") else "float"
        return v.astype(f"{kind}{(32 if narrow else 64) * (1 if kind == 'float' else 2)}", copy=False)

    matmat = matvec
    rmatmat = rmatvec


def _index(axis: Any) -> int:
    try:
        if isinstance(axis, (bool, np.bool_)):
            raise TypeError
        return operator.index(axis)
    except TypeError:
        raise ShapeError(f"an axis is a whole number; got {axis!r}") from None
