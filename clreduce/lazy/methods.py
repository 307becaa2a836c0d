"""Methods of `LazyTensor` that have a form of their own; those from the registry are in `functions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import FUNCTIONS
from clreduce.language.vocabulary import DERIVATIVES
from clreduce.lazy.complex import as_complex, choice
from clreduce.lazy.operators import Operators, mask_of
from clreduce.ops.compare import where
from clreduce.ops.shape import concat, extract

if TYPE_CHECKING:
    from typing_extensions import Self


TO_NUMBERS = frozenset({
    "Sum", "Max", "Min", "ArgMax", "ArgMin", "SqNorm2", "Norm2", "SqDist", "Det", "SoftDTW_SqDist", "Divergence",
    "Laplacian", "TraceOperator", "SumLinOperator",
})  # fmt: skip
"""Functions that reduce the vector axis: what they give is a number for each pair."""


Tensor = TypeVar("Tensor", bound="Methods")


class Methods(Operators):
    """Methods that give another `LazyTensor`."""

    __slots__ = ()

    def _call(
        self, method: str, name: str, *others: Any, params: tuple[Any, ...] = (), vectors: bool | None = None
    ) -> Self:  # fmt: skip
        """What the function ``name`` of the registry gives for this, ``others`` and whole numbers ``params``."""
        return self._apply(method, FUNCTIONS[name].build, others, params, vectors)

    def clamp(self: Tensor, other1: Any, other2: Any) -> Tensor:
        """Limited to [other1, other2]."""
        return self._call("clamp", "Clamp", other1, other2)

    clip = clamp

    def round(self: Tensor, other: int = 0) -> Tensor:
        """Rounded to ``other`` decimals; halves away from 0."""
        return self._call("round", "Round", params=(whole(other, "the number of decimals"),))

    def sinc(self: Tensor) -> Tensor:
        """sin(pi x) / (pi x), as ``numpy.sinc``."""
        return (self * float(np.pi)).sinxdivx()

    def sinxdivx(self: Tensor) -> Tensor:
        """Sin(f) / f; 1 with slope 0 at 0, nan at -inf and inf."""
        return self._call("sinxdivx", "SinXDivX")

    def norm2(self: Tensor) -> Tensor:
        """The Euclidean norm of each vector; its gradient at 0 is 0."""
        return self._call("norm2", "Norm2", vectors=False)

    def norm(self: Tensor, dim: int = -1) -> Tensor:
        """The Euclidean norm of each vector; ``dim`` is the vector axis."""
        if dim not in (-1, self.dim() - 1):
            raise ShapeError(f"norm is over the vectors: dim is -1 or {self.dim() - 1}; got {dim!r}")
        return self.norm2()

    def where(self: Tensor, condition: Any, other: Any = 0) -> Tensor:
        """This where ``condition`` is not 0, else ``other``: ``K.where(K.i < K.j)`` is the upper triangle."""
        mask, x = self._beside(condition), self._beside(other)
        if x.is_complex:
            mask = mask._mask()
            return self._record(choice(self, mask, x), mask, x, is_complex=True)

        return self._apply("where", _chosen, (mask, x))

    # ------------------------------------------------------------------------------------------ components of vectors

    def elem(self: Tensor, i: int) -> Tensor:
        """Component i of each vector, a number for each pair; negative i count from the end."""
        i, dim = whole(i, "i"), self._count
        if not -dim <= i < dim:
            raise ShapeError(f"component {i} asked of vectors of length {dim}")
        unit = 2 if self.is_complex else 1
        expr = extract(self._real_expr, unit * (i % dim), unit)
        return self._record(expr, is_complex=self.is_complex, vectors=False)

    def extract(self: Tensor, i: int, d: int) -> Tensor:
        """Components ``i`` to ``i + d - 1`` of each vector."""
        start, length, dim = whole(i, "i"), whole(d, "d"), self._count
        if start < 0 or length < 1 or start + length > dim:
            raise ShapeError(f"components {start} to {start + length - 1} asked of vectors of length {dim}")
        unit = 2 if self.is_complex else 1
        expr = extract(self._real_expr, unit * start, unit * length)
        return self._record(expr, is_complex=self.is_complex, vectors=True)

    def concat(self: Tensor, other: Any, *others: Any) -> Tensor:
        """The components of this, then those of the others."""
        return self._side_by_side((other, *others))

    def _side_by_side(self, others: Any) -> Self:
        tensors = (self, *map(self._beside, others))
        is_complex = any(x.is_complex for x in tensors)
        exprs = [as_complex(x) if is_complex else x._real_expr for x in tensors]
        return self._record(concat(*exprs), *tensors[1:], is_complex=is_complex, vectors=True)

    @classmethod
    def concatenate(cls: type[Tensor], tuple_of_lt: Any, axis: int = -1) -> Tensor:
        """Several tensors side by side along the vectors."""
        if not isinstance(tuple_of_lt, (tuple, list)) or not tuple_of_lt:
            raise ShapeError(f"concatenate takes a tuple of tensors; got {type(tuple_of_lt).__name__}")
        first = cls._from(tuple_of_lt[0])
        if axis not in (-1, first.dim() - 1):
            raise ShapeError(f"tensors are joined along their vectors, axis -1 or {first.dim() - 1}; got {axis!r}")
        made: Tensor = first._side_by_side(tuple_of_lt[1:])
        return made

    @classmethod
    def cat(cls: type[Tensor], tuple_of_lt: Any, dim: int = -1) -> Tensor:
        """`concatenate`, as torch calls it."""
        return cls.concatenate(tuple_of_lt, dim)

    def weightedsqnorm(self: Tensor, other: Any) -> Tensor:
        """The weighted squared norm; ``other`` has length 1, D (weights) or D^2 (a matrix)."""
        return self._apply("weightedsqnorm", _weighted, (other,), vectors=False)

    def weightedsqdist(self: Tensor, g: Any, s: Any) -> Tensor:
        """`weightedsqnorm` of the difference to g, with weights s."""
        return self.__sub__(g).weightedsqnorm(s)

    def keops_tensordot(
        self: Tensor, other: Any, dimfa: Any, dimfb: Any, contfa: Any, contfb: Any, *args: Any
    ) -> Tensor:
        """``numpy.tensordot`` of the vectors read as arrays of sizes ``dimfa`` and ``dimfb``, over these axes.

        A last argument permutes the axes of the result.
        """
        lists = tuple(wholes(each) for each in (dimfa, dimfb, contfa, contfb, *args))
        return self._call("keops_tensordot", "TensorDot", other, params=lists)

    def keops_kron(self: Tensor, other: Any, dimfself: Any, dimfother: Any) -> Tensor:
        """``numpy.kron`` of the vectors read as arrays of sizes ``dimfself`` and ``dimfother``."""
        return self._call("keops_kron", "Kron", other, params=(wholes(dimfself), wholes(dimfother)))

    def bspline(self: Tensor, x: Any, k: int = 0) -> Tensor:
        """The B-splines of degree k on these knots, at x."""
        return self._call("bspline", "BSpline", x, params=(whole(k, "k"),))

    def factorize(self: Tensor, other: Any) -> Tensor:
        """This itself: parts that are used more than once are always computed once."""
        self._from(other)
        return self

    def auto_factorize(self: Tensor) -> Tensor:
        """This itself: parts that are used more than once are always computed once."""
        return self

    # ----------------------------------------------------------------------------------------------------- derivatives

    def grad(self: Tensor, other: Any, gradin: Any) -> Tensor:
        """(d self / d other)^T gradin, for a variable ``other``; ``gradin`` is as long as these vectors."""
        return self._derived("grad", "Grad", other, gradin)

    def diff(self: Tensor, other: Any, diffin: Any) -> Tensor:
        """The derivative in the variable ``other``, in direction ``diffin``."""
        return self._derived("diff", "Diff", other, diffin)

    def _derived(self, method: str, name: str, v: Any, *others: Any) -> Self:
        """A derivative in the variable v, by its name in the formula language."""
        leaf = self._from(v)
        if leaf.expr.op.name != "variable":
            raise ShapeError(f"{method} differentiates in a variable: Vi(x), Vj(y) or Pm(p); got {leaf.formula}")
        build = DERIVATIVES[name].build
        vectors = self._vectors if name == "Diff" else name not in TO_NUMBERS
        made = self._apply(method, _directional if name == "Diff" else build, (leaf, *others), vectors=vectors)
        data = made._leaves.get(leaf.expr)
        if data is not None and data.array is None and leaf.expr not in topological([made.expr]):
            made._leaves = {node: leaf_data for node, leaf_data in made._leaves.items() if node is not leaf.expr}
        return made

    # ------------------------------------------------------------------------------------------------ complex numbers

    def real2complex(self: Tensor) -> Tensor:
        """Complex vectors with these as real parts."""
        return self._to_complex("Real2Complex")

    def imag2complex(self: Tensor) -> Tensor:
        """Complex vectors with these as imaginary parts."""
        return self._to_complex("Imag2Complex")

    def exp1j(self: Tensor) -> Tensor:
        """cos x + i sin x."""
        return self._to_complex("ComplexExp1j")

    def _to_complex(self, name: str) -> Self:
        return self._record(FUNCTIONS[name].build(self._real_expr), is_complex=True)

    @property
    def real(self: Tensor) -> Tensor:
        """The real parts: of real numbers, they themselves."""
        return self

    @property
    def imag(self: Tensor) -> Tensor:
        """The imaginary parts: of real numbers, 0."""
        return self * 0

    def conj(self: Tensor) -> Tensor:
        """The complex conjugates: of real numbers, they themselves."""
        return self


def _chosen(f: Expr, condition: Expr, g: Expr) -> Expr:
    return where(mask_of(condition), f, g)


def _weighted(f: Expr, s: Expr) -> Expr:
    return FUNCTIONS["WeightedSqNorm"].build(s, f)


def _directional(f: Expr, v: Expr, u: Expr) -> Expr:
    return DERIVATIVES["Diff"].build(f, [v], [u])


def whole(value: Any, name: str) -> int:
    """A whole number, or one error."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ShapeError(f"{name} is a whole number; got {value!r}")
    return int(value)


def wholes(values: Any) -> tuple[int, ...]:
    """Whole numbers from a list of them, or from one."""
    return tuple(whole(v, "an entry") for v in (values if isinstance(values, (tuple, list, np.ndarray)) else [values]))
